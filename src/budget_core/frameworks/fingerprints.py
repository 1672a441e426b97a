"""What makes two calls the same call, as the loop detector compares them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_ANSWERS: Final = frozenset(
    {"assistant", "ai", "model", "AssistantMessage", "function_call", "response"}
)
"""What frameworks and APIs call a message, or an item, that a model wrote."""
_ESSENCE: Final = (
    "role", "type", "kind", "name", "source", "content", "parts", "tool_calls", "function_call",
    "arguments", "output",
)  # fmt: skip
_VARYING: Final = frozenset({"id", "call_id", "tool_call_id", "index", "timestamp", "run_id"})


def message_fingerprint(model: str, messages: Sequence[Any]) -> tuple[Any, ...]:
    """Return what makes two calls of a model the same.

    An agent's history grows with every step, so a loop shows in its end alone: the last answer of
    the model and what came after it. Ids and times are left out, as they differ.

    Args:
        model: its name.
        messages: JSON-like, oldest first: texts, or mappings with what the messages of chat
            models have: "role" (or "type", or "kind"), "content" (or "parts"), "tool_calls".
    """
    start = len(messages) - 1
    while start > 0 and not _is_answer(messages[start]):
        start -= 1
    return (model, *map(_essence, messages[max(0, start) :]))


def tool_fingerprint(name: str, arguments: Any) -> tuple[str, str]:
    """Return what makes two calls of a tool the same: the name and the arguments.

    Args:
        name: of the tool.
        arguments: as the model gave them: JSON, or what was read from it, in any order.
    """
    try:
        read = json.loads(arguments) if isinstance(arguments, str) else arguments
        return name, json.dumps(read, sort_keys=True, default=str)
    except (TypeError, ValueError):
        return name, arguments if isinstance(arguments, str) else repr(arguments)


def _is_answer(message: Any) -> bool:
    if not isinstance(message, Mapping):
        return False
    return not _ANSWERS.isdisjoint(map(message.get, ("role", "type", "kind")))


def _essence(message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message if isinstance(message, str) else str(message)
    return {key: _lasting(message[key]) for key in _ESSENCE if message.get(key)}


def _lasting(value: Any) -> Any:
    """Copy JSON-like `value` without what varies, so that a later mutation is not seen either."""
    if isinstance(value, Mapping):
        return {key: _lasting(item) for key, item in value.items() if key not in _VARYING}
    if isinstance(value, list | tuple):
        return [_lasting(item) for item in value]
    return value
