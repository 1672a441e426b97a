"""From the parameters of a model client's ``create`` to `CallRequest`, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from budget_core import Call, CallRequest, Prompt, frameworks
from budget_core.money.prices.output_limits import is_reasoning

Params = dict[str, Any]

_CONTEXT: Final = (
    "tools", "functions", "tool_choice", "function_call", "response_format", "instructions",
    "built_in_tools", "extra_body",
)  # fmt: skip
"""What of the parameters the provider may count as input, beside the messages."""
_TOOLS: Final = frozenset(
    {"tools", "functions", "tool_choice", "function_call", "parallel_tool_calls", "built_in_tools"}
)
_CAP_OF: Final = {"autogen.oai.gemini": "max_output_tokens", "autogen.oai.ollama": "num_predict"}
"""Where AutoGen's own clients look for a cap, if not where OpenAI does."""


def model_request(params: Mapping[str, Any], agent: str, agent_run: Hashable = None) -> CallRequest:
    model = str(params.get("model") or "unknown")
    context = {key: params[key] for key in _CONTEXT if params.get(key) is not None}
    prompt = Prompt(_messages(params), context)
    return frameworks.model_request(model, prompt, params, agent=agent, agent_run=agent_run)


def capped(params: Params, call: Call, client: object) -> Params:
    if call.cap is None:
        return params
    given = [name for name in frameworks.CAPS if params.get(name)]
    module = type(client).__module__
    default = "max_completion_tokens" if is_reasoning(call.request.model) else "max_tokens"
    names = given or [_CAP_OF.get(module, default)]
    return params | dict.fromkeys(names, call.cap)  # which is not above a cap of the caller's


def without_tools(params: Params) -> Params:
    return {key: value for key, value in params.items() if key not in _TOOLS}


def _messages(params: Mapping[str, Any]) -> Sequence[Any]:
    messages = params.get("messages")
    return messages if isinstance(messages, list | tuple) else [params.get("prompt")]
