"""Google's contents, read as messages."""

from __future__ import annotations

import json
from typing import Any

from budget_core.testing.google_wire import field
from budget_core.testing.wire import Json, Refusal

_UNCOUNTED = frozenset({"thought", "thoughtSignature", "thought_signature"})


def content_messages(body: Json) -> list[Json]:
    system = field(body, "systemInstruction")
    head = [content_message(system, "system")] if system else []
    return [*head, *(content_message(content) for content in listed(body["contents"]))]


def content_message(content: Any, role: str | None = None) -> Json:
    """Return one content as a message, or raise Refusal."""
    if not isinstance(content, dict):
        raise Refusal(400, "each content must be an object")
    parts = [_part(part) for part in listed(content.get("parts"))]
    return {"role": role or _role(content.get("role"), parts), "content": parts}


def listed(value: Any) -> list[Any]:
    """Return a repeated field as a list: Google takes a single value for one of length 1."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _role(given: Any, parts: list[Json]) -> str:
    if given == "model":
        return "assistant"
    answers = any(part.get("type") == "function_call_output" for part in parts)
    return "tool" if answers else str(given or "user")


def _part(part: Any) -> Json:
    if not isinstance(part, dict):
        raise Refusal(400, "each part must be an object")
    media = field(part, "inlineData") or field(part, "fileData")
    if media:
        return {**media, "type": "file"}
    call = field(part, "functionCall")
    if call:
        given = _json(call.get("args"))
        return {"type": "function_call", "name": call.get("name"), "arguments": given}
    answer = field(part, "functionResponse")
    if answer:
        output = _json(answer.get("response"))
        return {"type": "function_call_output", "name": answer.get("name"), "output": output}
    return {name: value for name, value in part.items() if name not in _UNCOUNTED}


def _json(value: Any) -> str:
    return json.dumps(value or {}, ensure_ascii=False, separators=(",", ":"))
