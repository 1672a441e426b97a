"""Anthropic's messages."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from budget_core.testing.answer import block_of
from budget_core.testing.wire import ERROR_TYPES, Frame, Json, Wire, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer, Step


class MessagesWire(Wire):
    """``POST /v1/messages``."""

    api = "messages"
    required = ("messages", "max_tokens")
    caps = ("max_tokens",)

    def messages(self, body: Json) -> list[Json]:
        """Return the system prompt and the messages."""
        system = body.get("system")
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *super().messages(body)]

    def choices(self, body: Json) -> int:  # noqa: ARG002
        """Return 1: there is no ``n`` here."""
        return 1

    def body(self, answer: Answer) -> Json:
        """Return the whole message."""
        text = [{"type": "text", "text": answer.text}] if answer.text else []
        calls = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": _parsed(call.arguments)}
            for call in answer.calls
        ]
        whole = {**_head(answer), "content": [*text, *calls], **_stop(answer)}
        return {**whole, "usage": _usage(answer, answer.usage().output)} if _told(answer) else whole

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """Yield the events of a message: the input's usage first, the output's last."""
        started: Json = {**_head(answer), "content": [], "stop_reason": None, "stop_sequence": None}
        if _told(answer):
            started["usage"] = _usage(answer, 0)
        yield _event("message_start", message=started)
        yield _event("ping")
        blocks = groupby(answer.steps(), key=block_of)
        for index, (_, steps) in enumerate(blocks):
            yield from _block(answer, index, steps)
        ended: Json = {"delta": _stop(answer)}
        if _told(answer):
            ended["usage"] = _usage(answer, answer.usage().output)
        yield _event("message_delta", **ended)
        yield _event("message_stop")

    def error(self, status: int, message: str, code: str | None) -> Json:  # noqa: ARG002
        """Return an error in Anthropic's shape."""
        kind = ERROR_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


def _block(answer: Answer, index: int, steps: Iterator[Step]) -> Iterator[Frame]:
    opening = next(steps)
    if opening.kind == "text":
        block: Json = {"type": "text", "text": ""}
        yield _event("content_block_start", index=index, content_block=block)
        yield _delta(index, opening)
    else:
        call = answer.calls[opening.call]
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield _event("content_block_start", opening.tokens, index=index, content_block=block)
    for step in steps:
        yield _delta(index, step)
    yield _event("content_block_stop", index=index)


def _delta(index: int, step: Step) -> Frame:
    delta = (
        {"type": "text_delta", "text": step.text}
        if step.kind == "text"
        else {"type": "input_json_delta", "partial_json": step.text}
    )
    return _event("content_block_delta", step.tokens, index=index, delta=delta)


def _event(kind: str, tokens: int = 0, **fields: Any) -> Frame:
    return Frame(sse({"type": kind, **fields}, kind), tokens)


def _told(answer: Answer) -> bool:
    return answer.reply.usage


def _head(answer: Answer) -> Json:
    incoming = answer.incoming
    identity = f"msg_{incoming.index}"
    return {"id": identity, "type": "message", "role": "assistant", "model": incoming.model}


def _stop(answer: Answer) -> Json:
    reason = "max_tokens" if answer.cut else "tool_use" if answer.calls else "end_turn"
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(answer: Answer, output: int) -> Json:
    usage = answer.usage()
    return {
        "input_tokens": usage.input - usage.cached - usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_write,
        "output_tokens": output,
        "service_tier": "standard" if answer.tier == "default" else answer.tier,
    }


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return {}
