"""From LangChain's start events to `CallRequest`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from budget_core import CallRequest, Prompt, frameworks
from budget_langchain.errors import bubble

_CONTEXT: Final = (
    "tools", "functions", "tool_choice", "function_call", "response_format", "system",
    "instructions", "thinking", "text", "output_config", "mcp_servers",
)  # fmt: skip
"""What of a model's parameters the provider may count as input."""
_FORMS: Final = (
    "response_format", "output_format", "output_config", "text", "response_schema",
    "response_json_schema", "response_mime_type", "format",
)  # fmt: skip
"""Parameters by which models are asked for an answer in a form: JSON, mostly."""
_INNER_NODES: Final = frozenset({"model", "tools", "agent"})
"""Nodes that every agent has: their names tell nothing of who calls."""


def model_request(
    messages: Sequence[BaseMessage | str],
    *,
    serialized: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
    params: Mapping[str, Any],
    agent_run: Hashable = None,
) -> CallRequest:
    return frameworks.model_request(
        model_name(serialized, metadata, params),
        prompt_of(messages, params),
        params,
        cap=metadata.get("ls_max_tokens"),
        provider=metadata.get("ls_provider"),
        agent=agent_name(metadata),
        mixin=bubble(),
        agent_run=agent_run,
    )


def model_name(
    serialized: Mapping[str, Any] | None, metadata: Mapping[str, Any], params: Mapping[str, Any]
) -> str:
    named = (metadata.get("ls_model_name"), params.get("model"), params.get("model_name"))
    found = next((name for name in named if isinstance(name, str) and name), None)
    if found is None:
        path = (serialized or {}).get("id") or [params.get("_type") or "unknown"]
        found = str(path[-1])
    return found


def agent_name(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("lc_agent_name")
    if not name and (node := metadata.get("langgraph_node")) not in _INNER_NODES:
        name = node
    return name if isinstance(name, str) and name else None


def prompt_of(messages: Sequence[BaseMessage | str], params: Mapping[str, Any]) -> Prompt:
    return Prompt([as_json(message) for message in messages], context_of(params))


def context_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a model's parameters that counts as input: tools, formats.

    That tools may or must not be called costs no more than the default, which is left out.
    """
    found = {key: params[key] for key in _CONTEXT if params.get(key) is not None}
    if found.get("tool_choice") in ("auto", "none", {"type": "auto"}, {"type": "none"}):
        del found["tool_choice"]
    return found


def offers_tools(params: Mapping[str, Any]) -> bool:
    return any(params.get(key) for key in ("tools", "functions"))


def has_form(params: Mapping[str, Any]) -> bool:
    """Return whether an answer is asked for in a form, so that a part of it says nothing."""
    return any(params.get(key) for key in _FORMS)


def as_json(message: BaseMessage | str) -> Any:
    if isinstance(message, str):
        return message
    shown: dict[str, Any] = {"role": message.type, "content": message.content}
    if message.name:
        shown["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        shown["tool_calls"] = message.tool_calls
    if isinstance(message, ToolMessage):
        shown["tool_call_id"] = message.tool_call_id
    extra = message.additional_kwargs
    more = {k: v for k, v in extra.items() if v is not None and k != "tool_calls"} if extra else {}
    if more:
        shown["additional_kwargs"] = more
    return shown
