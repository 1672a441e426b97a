"""The guard on the openai SDK: what of its API is billed, and how its answers are capped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from budget_core.calls.fees import SEARCHING
from budget_core.calls.prompt import unbounded_in
from budget_core.money.prices.output_limits import is_reasoning
from budget_core.sdk.endpoints import Api, Endpoint
from budget_core.sdk.hosts import Server
from budget_core.sdk.patches import Patches
from budget_core.sdk.stainless import StainlessGuard, helped, helped_async
from budget_core.sdk.stream_events import RESPONSES
from budget_core.sdk.unbounded import refuse_sockets

_LEAST_RESPONSE: Final = 16
_OWN: Final = ("openai", "azure")


_OTHERS: Final = re.compile(
    "deepseek|llama|mistral|ministral|codestral|grok|phi|kimi|cohere|command|claude|qwen|glm|maverick"
)
"""In the names of models that Azure serves and OpenAI does not make."""
_OPENAIS: Final = re.compile(r"(.*/)?(gpt-|o\d|chatgpt|codex|computer-use)")


def _heeded(body: Mapping[str, Any], server: Server) -> tuple[str, ...]:
    if server.provider not in _OWN:
        return server.caps
    model = str(body.get("model") or "").lower()
    # https://platform.openai.com/docs/guides/predicted-outputs#limitations
    if body.get("prediction") or (server.provider == "azure" and _OTHERS.search(model)):
        return ("max_tokens",)
    return server.caps


def _fallback(model: str) -> str:
    # OpenAI's reasoning models know the newer name alone, most servers the older one
    newer = _OPENAIS.match(model.lower()) and is_reasoning(model)
    return "max_completion_tokens" if newer else "max_tokens"


def _unbounded(body: Mapping[str, Any]) -> str | None:
    if SEARCHING.search(str(body.get("model"))):
        return "a model that searches the web by itself"
    mode = reasoning.get("mode") if isinstance(reasoning := body.get("reasoning"), dict) else None
    if mode == "pro":
        return "a mode that is billed many times the prompt and the cap (reasoning.mode)"
    return unbounded_in(body)


_CHAT: Final = frozenset(
    {
        "tools", "tool_choice", "functions", "function_call", "response_format", "prediction",
        "modalities", "audio", "reasoning_effort", "reasoning", "verbosity",
        "prompt_cache_retention", "text", "instructions", "include", "truncation", "background",
        "max_tool_calls", "moderation",
        # servers that speak the same
        "min_p", "top_a", "top_k", "min_tokens", "random_seed", "repetition_penalty",
        "length_penalty", "typical_p", "use_beam_search", "beam_size", "ignore_eos",
        "stop_token_ids", "include_stop_str_in_output", "skip_special_tokens",
        "spaces_between_special_tokens", "add_generation_prompt", "continue_final_message",
        "echo", "suffix", "logits_processors", "prompt_logprobs", "return_token_ids",
        "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
        "grammar", "json_schema", "format", "chat_template", "chat_template_kwargs", "priority",
        "request_id", "cache_salt", "mm_processor_kwargs", "enable_thinking", "thinking_budget",
        "include_reasoning", "reasoning_format", "reasoning_split", "reasoning_content",
        "clear_thinking", "prompt_mode", "safe_prompt", "prefix", "keep_alive", "options",
        "cache_prompt", "id_slot", "n_predict", "num_ctx", "mirostat", "mirostat_eta",
        "mirostat_tau", "provider", "route", "transforms", "usage", "session_id", "trace",
        "disable_tool_validation", "citation_options", "safety_settings", "do_sample",
        "return_full_text", "mock_response",
    }
)  # fmt: skip
"""What the references of the API and of servers that speak it say of the prompt and of sampling."""

API: Final = Api(
    {
        "/chat/completions": Endpoint(
            messages="messages",
            caps=("max_completion_tokens", "max_tokens"),
            heeded=_heeded,
            fallback=_fallback,
            counts=("n",),
            asks_usage=True,
            unbounded=_unbounded,
            own=_OWN,
            known=_CHAT,
        ),
        "/responses": Endpoint(
            messages="input",
            caps=("max_output_tokens",),
            stream_format=RESPONSES,
            least=lambda _body: _LEAST_RESPONSE,
            unbounded=_unbounded,
            own=_OWN,
            known=_CHAT,
        ),
        "/completions": Endpoint(
            messages="prompt",
            caps=("max_tokens",),
            default_cap=16,
            own=_OWN,
            counts=("n", "best_of"),
            prompts=True,
            asks_usage=True,
        ),
        "/responses/compact": Endpoint(beyond="a compaction, whose length has no cap"),
        "/embeddings": Endpoint(messages="input", answers=False),
        "/batches": Endpoint(beyond="a batch, which is answered and billed later"),
        "/images/generations": Endpoint(beyond="image generation"),
        "/images/edits": Endpoint(beyond="image generation"),
        "/images/variations": Endpoint(beyond="image generation"),
        "/audio/speech": Endpoint(beyond="speech"),
        "/audio/transcriptions": Endpoint(beyond="transcription"),
        "/audio/translations": Endpoint(beyond="transcription"),
        "/videos": Endpoint(beyond="video generation"),
    },
    free=re.compile(
        r"^(/v\d+)?/(moderations$|responses/input_tokens$|(responses|batches)/[^/]+/cancel$"
        r"|chat/completions/[^/]+$|fine_tuning/.*/(cancel|pause)$"
        r"|(files|uploads|vector_stores|conversations|skills|organization|projects|assistants)"
        r"(/[^:]*)?$"
        r"|threads(/[^/]+(/messages.*)?)?$|threads/[^/]+/runs/[^/]+(/cancel)?$|evals(/[^/]+)?$)"
    ),
)
"""What the SDK can ask of a provider.

https://platform.openai.com/docs/api-reference; what is free is managed, not generated.
"""

_SOCKETS: Final = {
    "openai.resources.realtime.realtime": ("Realtime", "AsyncRealtime"),
    "openai.resources.beta.realtime.realtime": ("Realtime", "AsyncRealtime"),
    "openai.resources.responses.responses": ("Responses", "AsyncResponses"),
    "openai.resources.beta.responses.responses": ("Responses", "AsyncResponses"),
}


_HELPERS: Final = "openai.lib.streaming.responses._responses"
"""Stream helpers that do not say so in a header, as the others do."""


class OpenAIGuard(StainlessGuard):
    """Guards every OpenAI client; Azure's and those of compatible servers are among them."""

    def hook(self, patches: Patches) -> None:
        """Wrap the base clients; refuse WebSockets, and know the stream helpers."""
        super().hook(patches)
        refuse_sockets(patches, _SOCKETS)
        patches.wrap_later(_HELPERS, "ResponseStreamManager", "__enter__", helped)
        patches.wrap_later(_HELPERS, "AsyncResponseStreamManager", "__aenter__", helped_async)


GUARD: Final = OpenAIGuard("openai", API)
