"""From a call of one of CrewAI's LLMs to `CallRequest`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from budget_core import CallRequest, Prompt
from budget_core.calls import context
from budget_core.frameworks import model_request
from budget_crewai.errors import stop

NAMES: Final = (
    "messages", "tools", "callbacks", "available_functions", "from_task", "from_agent",
    "response_model",
)  # fmt: skip
"""The parameters of ``BaseLLM.call``, in their order."""


def said(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(NAMES, args, strict=False)), **kwargs}


def apart(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a call is given, with functions that are no part of it: each pays for itself."""

    def change(name: str, value: Any) -> Any:
        if name != "available_functions" or not isinstance(value, Mapping):
            return value
        return {key: context.apart(function) for key, function in value.items()}

    return changed(args, kwargs, change)


def changed(
    args: Sequence[Any], kwargs: Mapping[str, Any], change: Callable[[str, Any], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a call is given, with what `change` makes of each argument's name and value."""
    named = zip((*NAMES, *[""] * len(args)), args, strict=False)
    return (
        tuple(change(name, value) for name, value in named),
        {name: change(name, value) for name, value in kwargs.items()},
    )


def request_of(llm: Any, given: Mapping[str, Any], agent: str | None) -> CallRequest:
    """Return the request of an LLM's call that is about to be made.

    What an SDK will really send may differ; where its SDK is guarded, that counts.
    """
    messages = given.get("messages") or ()
    messages = [messages] if isinstance(messages, str) else list(messages)
    context = {
        "tools": given.get("tools"),
        "response_format": given.get("response_model") or getattr(llm, "response_format", None),
    }
    model = llm if isinstance(llm, str) else str(getattr(llm, "model", "") or type(llm).__name__)
    effective = getattr(llm, "_effective_max_tokens", None)
    cap = effective() if callable(effective) else getattr(llm, "max_tokens", None)
    return model_request(
        model,
        Prompt(messages, {key: value for key, value in context.items() if value}),
        {"n": getattr(llm, "n", None)},
        cap=int(cap) if isinstance(cap, int | float) else None,
        provider=getattr(llm, "provider", None),
        agent=agent,
        mixin=stop(),
    )
