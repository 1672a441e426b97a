"""The guard on the openai SDK: chat completions, responses, completions and embeddings."""

from __future__ import annotations

from typing import Final

from budget_core.maximums import is_reasoning
from budget_core.sdk.guard import Guard
from budget_core.sdk.requests import Endpoint


def _chat_cap(model: str, provider: str | None) -> str:
    # compatible servers know the older name; OpenAI's reasoning models only the newer one
    newer = provider in ("openai", "azure") or is_reasoning(model)
    return "max_completion_tokens" if newer else "max_tokens"


ENDPOINTS: Final = {
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
}

_GUARD: Final = Guard("openai", ENDPOINTS)


def install() -> None:
    """Guard every OpenAI client of this process, those made earlier too.

    Without a session that claims a call, the call passes untouched.

    Raises:
        GuardError: the installed SDK is not built as this guard knows it.
    """
    _GUARD.install()


def uninstall() -> None:
    """Take the guard out again."""
    _GUARD.uninstall()
