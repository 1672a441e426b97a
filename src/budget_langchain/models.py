"""What is to be known of a chat model before it is called by an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.utils.function_calling import convert_to_openai_tool

from budget_core.frameworks import model_request, sender_of
from budget_core.runtime.signals import pass_on
from budget_langchain.errors import bubble
from budget_langchain.places import run_here
from budget_langchain.requests import agent_name, prompt_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain.agents.middleware.types import ModelRequest

    from budget_core import CallRequest

_SDKS: Final = {"langchain_openai": "openai", "langchain_anthropic": "anthropic"}
_WAYS: Final = ("_generate", "_agenerate", "_stream", "_astream")
"""How LangChain asks a model."""
_CAPS: Final = {
    **dict.fromkeys(
        (
            "anthropic", "azure", "amazon_bedrock", "deepseek", "fireworks", "groq", "mistral",
            "mistralai", "openai", "openrouter", "perplexity", "together", "xai",
        ),
        "max_tokens",
    ),
    **dict.fromkeys(("google_genai", "google_vertexai"), "max_output_tokens"),
    "ollama": "num_predict",
}  # fmt: skip
"""Under which name a provider's chat model takes a cap on its answer."""


def described(model: Any, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a chat model says of itself to tracers: model, provider, cap."""
    try:
        return dict(model._get_ls_params(**settings))  # noqa: SLF001  where callbacks read it too
    except Exception as error:  # noqa: BLE001  a model that is only made when it is called
        pass_on(error)
        return {}


def agent_request(
    request: ModelRequest[Any], metadata: Mapping[str, Any], context: Any
) -> CallRequest | None:
    """Return what an agent's model call will be, None if the model does not say its name.

    Args:
        request: as the middleware gets it.
        metadata: of the run.
        context: tools and formats as they were sent the last time, if known.
    """
    said = described(request.model, request.model_settings)
    model = said.get("ls_model_name")
    if not isinstance(model, str) or not model:
        return None
    system = [request.system_message] if request.system_message else []
    messages = [*system, *request.messages]
    params = {**_params(request.model), **request.model_settings}
    return model_request(
        model,
        prompt_of(messages, context if context is not None else _tools(request)),
        params,
        cap=said.get("ls_max_tokens"),
        provider=said.get("ls_provider"),
        agent=agent_name(metadata),
        mixin=bubble(),
        agent_run=run_here(),
    )


def sdk_of(model: Any) -> str | None:
    for kind in type(model).__mro__:
        if (sdk := _SDKS.get(kind.__module__.partition(".")[0])) is not None:
            return sdk
    return None


def sdk_behind(error: BaseException) -> str | None:
    """Return the SDK that alone can have sent what failed, None in doubt (see `sender_of`).

    LangChain does not tell a handler which model it asks: the error has come through it.
    """
    trace = error.__traceback__
    while trace is not None:
        asked = trace.tb_frame.f_locals.get("self")
        for base in (BaseChatModel, BaseLLM):
            if isinstance(asked, base):
                return sender_of(asked, base, *_WAYS)
        trace = trace.tb_next
    return None


def cap_setting(request: ModelRequest[Any], cap: int) -> dict[str, Any] | None:
    said = described(request.model, request.model_settings)
    key = _CAPS.get(str(said.get("ls_provider")))
    return None if key is None else {key: cap}


def thinking_budget(request: ModelRequest[Any]) -> int:
    """Return the tokens that a model was given to think, which a cap has to exceed."""
    asked = request.model_settings.get("thinking", getattr(request.model, "thinking", None))
    budget = asked.get("budget_tokens") if isinstance(asked, dict) else None
    return budget if isinstance(budget, int) else 0


def needs_tools_for_history(model: Any) -> bool:
    return described(model, {}).get("ls_provider") == "anthropic"


def _params(model: Any) -> dict[str, Any]:
    names = ("max_completion_tokens", "n", "service_tier", "previous_response_id")
    found = {name: getattr(model, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _tools(request: ModelRequest[Any]) -> dict[str, Any]:
    tools = [_schema(tool) for tool in request.tools]
    format_ = request.response_format
    schema = getattr(format_, "schema", format_)
    if schema is None:
        return {"tools": tools}
    return {"tools": tools, "response_format": _schema(schema)}


def _schema(tool: Any) -> Any:
    try:
        return convert_to_openai_tool(tool)
    except Exception as error:  # noqa: BLE001  a shape that only the model itself understands
        pass_on(error)
        return repr(tool)
