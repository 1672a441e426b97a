"""The guard on the openai SDK: what of its API is billed, and how its answers are capped."""

from __future__ import annotations

import re
from typing import Final

from budget_core.maximums import is_reasoning
from budget_core.sdk.dialects import RESPONSES
from budget_core.sdk.patches import Patches
from budget_core.sdk.requests import Api, Endpoint
from budget_core.sdk.sockets import refuse_sockets
from budget_core.sdk.stainless import StainlessGuard

_LEAST_RESPONSE: Final = 16


def _chat_cap(model: str, provider: str | None) -> str:
    # compatible servers know the older name; OpenAI's reasoning models only the newer one
    newer = provider in ("openai", "azure") or is_reasoning(model)
    return "max_completion_tokens" if newer else "max_tokens"


API: Final = Api(
    {
        "/chat/completions": Endpoint(
            messages="messages",
            caps=("max_completion_tokens", "max_tokens"),
            cap_for=_chat_cap,
            counts=("n",),
            asks_usage=True,
        ),
        "/responses": Endpoint(
            messages="input",
            caps=("max_output_tokens",),
            cap_for=lambda _model, _provider: "max_output_tokens",
            dialect=RESPONSES,
            least=lambda _body: _LEAST_RESPONSE,
        ),
        "/completions": Endpoint(
            messages="prompt",
            caps=("max_tokens",),
            cap_for=lambda _model, _provider: "max_tokens",
            default_cap=16,
            counts=("n", "best_of"),
            asks_usage=True,
        ),
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
        r"/moderations$|/responses/input_tokens$|/(chat/completions|responses|batches)/[^/]+"
        r"(/cancel)?$|/fine_tuning/.*/(cancel|pause)$|/(files|uploads|vector_stores|conversations"
        r"|models|skills|organization|projects|assistants)(/|$)|/threads(/[^/]+(/messages.*)?)?$"
        r"|/threads/[^/]+/runs/[^/]+(/cancel)?$|/evals(/[^/]+)?$"
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


class OpenAIGuard(StainlessGuard):
    """Guards every OpenAI client; Azure's and those of compatible servers are among them."""

    def install_more(self, patches: Patches) -> None:
        """Refuse WebSockets, over which an answer can neither be held nor capped."""
        refuse_sockets(patches, _SOCKETS)


GUARD: Final = OpenAIGuard("openai", API)
