"""The models of AgentChat: what they are sent, and how their answers are capped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from autogen_core.models import ChatCompletionClient

from budget_core.money.prices.output_limits import is_reasoning
from budget_core.sdk.installing import is_guarded

if TYPE_CHECKING:
    from budget_core import Call

_SDKS: Final = {
    "autogen_ext.models.openai": "openai",
    "autogen_ext.models.anthropic": "anthropic",
    "autogen_ext.models.azure": "azure",
}


def default_client() -> ChatCompletionClient:
    """Return a client of OpenAI, with the key and the address that its SDK finds.

    Raises:
        ImportError: AutoGen's extension for OpenAI is not installed.
        ValueError: there is no key.
    """
    try:
        from autogen_ext.models.openai import OpenAIChatCompletionClient  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ImportError(
            "An agent without model_client= uses OpenAI, which needs autogen-ext: "
            "pip install 'budget-suite[autogen]'"
        ) from error
    if not os.environ.get("OPENAI_API_KEY"):
        raise ValueError("An agent without model_client= uses OpenAI: set OPENAI_API_KEY.")
    return OpenAIChatCompletionClient(model=os.environ.get("OPENAI_MODEL") or "gpt-4o-mini")


def model_of(client: ChatCompletionClient) -> str:
    """Return a client's model: as it is sent, else that of the client within, else its family."""
    model = settings_of(client).get("model")
    if isinstance(model, str) and model:
        return model
    inner = getattr(client, "client", None)
    if isinstance(inner, ChatCompletionClient):
        return model_of(inner)
    return str(client.model_info["family"])


def settings_of(client: ChatCompletionClient) -> Mapping[str, Any]:
    settings = getattr(client, "_create_args", None)
    return settings if isinstance(settings, Mapping) else {}


def sdk_of(client: ChatCompletionClient) -> str | None:
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


def stream_setting(client: ChatCompletionClient, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the setting by which a stream tells its usage, which it does not by default."""
    if sdk_of(client) != "openai":
        return {}
    if "stream_options" in settings_of(client) or "stream_options" in own:
        return {}
    return {"stream_options": {"include_usage": True}}
