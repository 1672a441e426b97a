"""What is put into a client's call: the cap that its hold pays for, and the wish for its usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from budget_autogen.agentchat.requests import settings_of
from budget_core.money.prices.output_limits import is_reasoning
from budget_core.sdk.installing import is_guarded

if TYPE_CHECKING:
    from autogen_core.models import ChatCompletionClient

    from budget_autogen.agentchat.requests import Asked
    from budget_core import Call

_SDKS: Final = {
    "autogen_ext.models.openai": "openai",
    "autogen_ext.models.anthropic": "anthropic",
    "autogen_ext.models.azure": "azure",
}


def sdk_of(client: ChatCompletionClient) -> str | None:
    """Return the provider SDK through which a client sends, None if it is not known."""
    for kind in type(client).__mro__:
        for module, sdk in _SDKS.items():
            if kind.__module__.startswith(module):
                return sdk
    return None


def cap_setting(client: ChatCompletionClient, call: Call, guarded: bool) -> dict[str, Any]:
    """Return the setting that caps the answer at what the hold pays for.

    None where the guard on an SDK does that, nor where the caller's own cap is as low; a client
    that has no such setting is metered instead, as far as it streams.
    """
    sdk, own = sdk_of(client), call.request.output_cap
    if sdk is None or call.cap is None or (guarded and is_guarded(sdk)):
        return {}
    call.wired = True
    if own is not None and call.cap >= own:
        return {}
    longer = sdk == "openai" and is_reasoning(call.request.model)
    return {"max_completion_tokens" if longer else "max_tokens": call.cap}


def stream_setting(client: ChatCompletionClient, asked: Asked) -> dict[str, Any]:
    """Return the setting by which a stream tells its usage, which it does not by default."""
    if sdk_of(client) != "openai":
        return {}
    if "stream_options" in settings_of(client) or "stream_options" in asked.extra:
        return {}
    return {"stream_options": {"include_usage": True}}
