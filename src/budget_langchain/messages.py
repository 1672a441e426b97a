"""LangChain's messages as the core measures and compares them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from budget_core import Prompt

_CONTEXT: Final = (
    "tools", "functions", "tool_choice", "function_call", "response_format", "system",
    "instructions", "thinking", "text", "output_config", "mcp_servers",
)  # fmt: skip
"""What of a model's parameters the provider may count as input."""


def prompt_of(messages: Sequence[BaseMessage | str], params: Mapping[str, Any]) -> Prompt:
    """Return what a model call sends."""
    return Prompt([as_json(message) for message in messages], context_of(params))


def context_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a model's parameters that counts as input: tools, formats.

    That tools may or must not be called costs no more than the default, which is left out.
    """
    found = {key: params[key] for key in _CONTEXT if params.get(key) is not None}
    if found.get("tool_choice") in ("auto", "none", {"type": "auto"}, {"type": "none"}):
        del found["tool_choice"]
    return found


def as_json(message: BaseMessage | str) -> Any:
    """Return a message as JSON-like data: everything in it that may be sent."""
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


def fingerprint_of(model: str, messages: Sequence[BaseMessage | str]) -> tuple[Any, ...]:
    """Return what makes two model calls the same call.

    An agent's history grows with every step, so a loop shows in its end alone: the last answer
    of the model and what came after it. Ids are left out, as they differ each time.
    """
    start = 0
    for at in range(len(messages) - 1, -1, -1):
        if isinstance(messages[at], AIMessage):
            start = at
            break
    return (model, *(_essence(message) for message in messages[start:]))


def _essence(message: BaseMessage | str) -> Any:
    if isinstance(message, str):
        return message
    calls = message.tool_calls if isinstance(message, AIMessage) else ()
    content = message.content if isinstance(message.content, str) else _without_ids(message.content)
    return (message.type, content, tuple((call["name"], call["args"]) for call in calls))


def _without_ids(blocks: Sequence[Any]) -> list[Any]:
    return [
        {k: v for k, v in block.items() if k not in ("id", "call_id", "index")}
        if isinstance(block, Mapping)
        else block
        for block in blocks
    ]


def tool_fingerprint(name: str, inputs: Mapping[str, Any] | None, text: str) -> tuple[Any, ...]:
    """Return what makes two tool calls the same call: the name and the arguments."""
    if inputs is None:
        return (name, text)
    try:
        return (name, json.dumps(inputs, sort_keys=True, default=str))
    except (TypeError, ValueError):
        return (name, text)


def streamed_text(token: Any, chunk: Any) -> str:
    """Return everything that a streamed chunk shows of the model's output."""
    message = getattr(chunk, "message", None)
    content = token if message is None else message.content
    if not isinstance(content, str):
        return _strings(content)
    calls = getattr(message, "tool_call_chunks", None) or ()
    written = "".join((call.get("name") or "") + (call.get("args") or "") for call in calls)
    reasoning = getattr(message, "additional_kwargs", {}).get("reasoning_content") or ""
    return content + written + (reasoning if isinstance(reasoning, str) else "")


def _strings(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "".join(_strings(v) for k, v in value.items() if k not in ("type", "id", "index"))
    return "".join(_strings(item) for item in value) if isinstance(value, list | tuple) else ""
