"""Anthropic's messages."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from budget_core.testing.answer import FILLER, block_of
from budget_core.testing.anthropic_thinking import check_thinking, signed, thinks
from budget_core.testing.wire import ERROR_TYPES, Frame, Json, Wire, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer, Step
    from budget_core.testing.reply import Api, Incoming, Reply


_DELTAS = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "arguments": ("input_json_delta", "partial_json"),
}


class MessagesWire(Wire):
    """``POST /v1/messages``, and the same message under the paths of Bedrock and Vertex."""

    api: ClassVar[Api] = "messages"
    required: ClassVar[tuple[str, ...]] = ("messages", "max_tokens")
    caps: ClassVar[tuple[str, ...]] = ("max_tokens",)

    def check(self, body: Json) -> None:
        """Refuse what the API refuses, thinking without room for it included."""
        super().check(body)
        check_thinking(body)

    def messages(self, body: Json) -> list[Json]:
        system = body.get("system")
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *super().messages(body)]

    def choices(self, body: Json) -> int:  # noqa: ARG002
        """Return 1: there is no ``n`` here."""
        return 1

    def compose(self, incoming: Incoming, reply: Reply, tier: str) -> Answer:
        """Return the message: its reasoning can be read if the request asks for thinking."""
        answer = super().compose(incoming, reply, tier)
        return replace(answer, thinks_aloud=thinks(incoming.body))

    def body(self, answer: Answer) -> Json:
        aloud = answer.thinks_aloud and answer.reasoning
        thought = [signed(FILLER * answer.reasoning)] if aloud else []
        text = [{"type": "text", "text": answer.text}] if answer.text else []
        calls = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parsed}
            for call in answer.calls
        ]
        whole = {**_head(answer), "content": [*thought, *text, *calls], **_stop(answer)}
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
        kind = ERROR_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


def _block(answer: Answer, index: int, steps: Iterator[Step]) -> Iterator[Frame]:
    opening = next(steps)
    block = _empty(answer, opening)
    if opening.kind == "call":
        yield _event("content_block_start", opening.tokens, index=index, content_block=block)
    else:
        yield _event("content_block_start", index=index, content_block=block)
        yield _delta(index, opening)
    for step in steps:
        yield _delta(index, step)
    if opening.kind == "thinking":
        delta = {"type": "signature_delta", "signature": signed("")["signature"]}
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _empty(answer: Answer, opening: Step) -> Json:
    if opening.kind == "text":
        return {"type": "text", "text": ""}
    if opening.kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    call = answer.calls[opening.call]
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def _delta(index: int, step: Step) -> Frame:
    kind, name = _DELTAS[step.kind]
    delta = {"type": kind, name: step.text}
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
    thought = {"thinking_tokens": usage.reasoning} if output else None
    searched = {"server_tool_use": {"web_search_requests": answer.reply.searches}}
    told = {
        "input_tokens": usage.input - usage.cached - usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_write,
        "output_tokens": output,
        "output_tokens_details": thought,
        "service_tier": "standard" if answer.tier == "default" else answer.tier,
        **(searched if answer.reply.searches else {}),
    }
    return answer.told(told)
