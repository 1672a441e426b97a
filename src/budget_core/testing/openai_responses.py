"""OpenAI's responses."""

from __future__ import annotations

import time
from itertools import count as counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from budget_core.testing.answer import block_of
from budget_core.testing.wire import Frame, Json, Wire, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer, Call, Step

    _Events: TypeAlias = Iterator[tuple[str, int, Json]]


class ResponsesWire(Wire):
    """``POST /v1/responses``."""

    api = "responses"
    required = ("input",)
    caps = ("max_output_tokens",)
    schemas = ("tools", "text")
    objects = ("stream_options",)

    def messages(self, body: Json) -> list[Json]:
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        system = body.get("instructions")
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *self.checked(items)]

    def choices(self, body: Json) -> int:  # noqa: ARG002
        """Return 1: there is no ``n`` here."""
        return 1

    def body(self, answer: Answer) -> Json:
        final = "incomplete" if answer.cut else "completed"
        return _response(answer, final, _output(answer))

    def frames(self, answer: Answer) -> Iterator[Frame]:
        numbers = counter()

        def event(kind: str, tokens: int = 0, **fields: Any) -> Frame:
            payload = {"type": kind, "sequence_number": next(numbers), **fields}
            return Frame(sse(payload, kind), tokens)

        started = _response(answer, "in_progress", [])
        yield event("response.created", response=started)
        yield event("response.in_progress", response=started)
        blocks = groupby(answer.steps(), key=block_of)
        for index, (_, steps) in enumerate(blocks):
            opening = next(steps)
            if opening.kind == "text":
                item = _message(answer, answer.text, "completed")
                fields = _text_events(answer, item, opening, steps)
            else:
                item = _function_call(answer.calls[opening.call], "completed")
                fields = _call_events(answer.calls[opening.call], item, opening, steps)
            for kind, tokens, more in fields:
                yield event(kind, tokens, output_index=index, **more)
        whole = self.body(answer)
        yield event(f"response.{whole['status']}", response=whole)


def _text_events(answer: Answer, item: Json, opening: Step, rest: Iterator[Step]) -> _Events:
    place: Json = {"item_id": item["id"], "content_index": 0}
    yield (
        "response.output_item.added",
        0,
        {"item": {**item, "status": "in_progress", "content": []}},
    )
    yield "response.content_part.added", 0, {**place, "part": _text("")}
    for step in (opening, *rest):
        delta = {**place, "delta": step.text, "logprobs": []}
        yield "response.output_text.delta", step.tokens, delta
    yield "response.output_text.done", 0, {**place, "text": answer.text, "logprobs": []}
    yield "response.content_part.done", 0, {**place, "part": _text(answer.text)}
    yield "response.output_item.done", 0, {"item": item}


def _call_events(call: Call, item: Json, opening: Step, rest: Iterator[Step]) -> _Events:
    place: Json = {"item_id": item["id"]}
    added = {**item, "status": "in_progress", "arguments": ""}
    yield "response.output_item.added", opening.tokens, {"item": added}
    for step in rest:
        yield "response.function_call_arguments.delta", step.tokens, {**place, "delta": step.text}
    done = {**place, "name": call.name, "arguments": call.arguments}
    yield "response.function_call_arguments.done", 0, done
    yield "response.output_item.done", 0, {"item": item}


def _response(answer: Answer, status: str, output: list[Json]) -> Json:
    incoming = answer.incoming
    body = incoming.body
    reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
    over = status != "in_progress" and answer.reply.usage
    return {
        "id": response_id(incoming.index),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": reason,
        "instructions": body.get("instructions"),
        "max_output_tokens": incoming.output_cap,
        "metadata": body.get("metadata") or {},
        "model": incoming.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "service_tier": answer.tier,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "usage": _usage(answer) if over else None,
    }


def response_id(index: int) -> str:
    return f"resp_{index}"


def _output(answer: Answer) -> list[Json]:
    final = "incomplete" if answer.cut else "completed"
    text = [_message(answer, answer.text, final)] if answer.text else []
    searches = [_search(answer, number) for number in range(answer.reply.searches)]
    return [*searches, *text, *(_function_call(call, final) for call in answer.calls)]


def _search(answer: Answer, number: int) -> Json:
    identity = f"ws_{answer.incoming.index}_{number}"
    action = {"type": "search", "query": "salt"}
    return {"id": identity, "type": "web_search_call", "status": "completed", "action": action}


def _message(answer: Answer, text: str, status: str) -> Json:
    identity = f"msg_{answer.incoming.index}"
    head = {"id": identity, "type": "message", "role": "assistant", "status": status}
    return {**head, "content": [_text(text)]}


def _function_call(call: Call, status: str) -> Json:
    head = {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id}
    return {**head, "name": call.name, "arguments": call.arguments, "status": status}


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(answer: Answer) -> Json:
    usage = answer.usage()
    told = {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
    return answer.told(told)
