"""The last call of an agent: what it is asked, and what is kept of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from budget_core.frameworks import SPEECHLESS
from budget_langchain.models import needs_tools_for_history

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest


def final_request(request: ModelRequest[Any], wrap_up: str) -> ModelRequest[Any]:
    messages = [*request.messages, HumanMessage(wrap_up)]
    tools_stay = (
        needs_tools_for_history(request.model)
        and not isinstance(request.response_format, ToolStrategy)
        and any(isinstance(m, AIMessage) and m.tool_calls for m in request.messages)
    )
    if tools_stay:
        return request.override(messages=messages, tool_choice={"type": "none"})
    return request.override(messages=messages, tools=[], tool_choice=None)


def final_answer(response: Any) -> Any:
    if isinstance(response, AIMessage):
        return _spoken(response)
    if isinstance(response, ExtendedModelResponse):
        inner = final_answer(response.model_response)
        return ExtendedModelResponse(model_response=inner, command=response.command)
    if response.structured_response is not None:
        return response
    answers: list[BaseMessage] = [_spoken(m) for m in response.result if isinstance(m, AIMessage)]
    return ModelResponse(result=answers, structured_response=None)


def _spoken(message: AIMessage) -> AIMessage:
    if message.text and not message.tool_calls and not message.invalid_tool_calls:
        return message
    content: Any = message.content
    if not isinstance(content, str):
        called = ("tool_use", "tool_call", "function_call", "input_json_delta")
        content = [b for b in content if not (isinstance(b, dict) and b.get("type") in called)]
    extra = {k: v for k, v in message.additional_kwargs.items() if k != "tool_calls"}
    changes: dict[str, Any] = {
        "content": content or SPEECHLESS,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "additional_kwargs": extra,
    }
    return message.model_copy(update=changes)
