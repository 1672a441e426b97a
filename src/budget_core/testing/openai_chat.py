"""OpenAI's chat completions and legacy text completions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from budget_core.testing.tokens import count_prompts
from budget_core.testing.wire import Frame, Json, Wire, sse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer, Step
    from budget_core.testing.reply import Api

DONE = b"data: [DONE]\n\n"


class ChatWire(Wire):
    """``POST /v1/chat/completions``."""

    api: ClassVar[Api] = "chat"
    required = ("messages",)
    caps: ClassVar[tuple[str, ...]] = ("max_tokens", "max_completion_tokens")
    schemas = ("tools", "functions", "response_format")
    objects = ("stream_options",)
    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def body(self, answer: Answer) -> Json:
        finish = self.finish(answer)
        choices = [
            {"index": index, **self.whole(answer), "logprobs": None, "finish_reason": finish}
            for index in range(answer.incoming.n)
        ]
        whole = {**self.head(answer, self.object), "choices": choices}
        return {**whole, "usage": chat_usage(answer)} if answer.reply.usage else whole

    def frames(self, answer: Answer) -> Iterator[Frame]:
        options = answer.incoming.body.get("stream_options") or {}
        wants_usage = bool(options.get("include_usage")) and answer.reply.usage
        head = self.head(answer, self.chunk_object)
        if wants_usage:
            head["usage"] = None
        indices = range(answer.incoming.n)
        first = True
        for step in answer.steps():
            for index in indices:
                part = self.part(answer, step, first=first)
                yield Frame(_chunk(head, index, part, None), step.tokens)
            first = False
        for index in indices:
            yield Frame(_chunk(head, index, self.last(first=first), self.finish(answer)))
        if wants_usage:
            yield Frame(sse({**head, "choices": [], "usage": chat_usage(answer)}))
        yield Frame(DONE)

    def head(self, answer: Answer, kind: str) -> Json:
        incoming = answer.incoming
        return {
            "id": f"{self.id_prefix}-{incoming.index}",
            "object": kind,
            "created": int(time.time()),
            "model": incoming.model,
            "service_tier": answer.tier,
        }

    def finish(self, answer: Answer) -> str:
        return "length" if answer.cut else "tool_calls" if answer.calls else "stop"

    def whole(self, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": _function(call.name, call.arguments),
                }
                for call in answer.calls
            ]
        else:
            message["content"] = answer.text
        return {"message": message}

    def part(self, answer: Answer, step: Step, *, first: bool) -> Json:
        delta: Json = {"role": "assistant"} if first else {}
        if step.kind == "text":
            delta["content"] = step.text
        elif step.kind == "call":
            call = answer.calls[step.call]
            opened = {"id": call.id, "type": "function", "function": _function(call.name, "")}
            delta["tool_calls"] = [{"index": step.call, **opened}]
        else:
            delta["tool_calls"] = [{"index": step.call, "function": {"arguments": step.text}}]
        return {"delta": delta}

    def last(self, *, first: bool) -> Json:
        return {"delta": {"role": "assistant", "content": ""} if first else {}}


class CompletionsWire(ChatWire):
    """``POST /v1/completions``."""

    api = "completions"
    required = ("prompt",)
    caps = ("max_tokens",)
    id_prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body["prompt"])

    def count(self, body: Json, messages: list[Json]) -> int:  # noqa: ARG002
        return sum(count_prompts(body["prompt"]))

    def choices(self, body: Json) -> int:
        return super().choices(body) * len(count_prompts(body["prompt"]))

    def whole(self, answer: Answer) -> Json:
        return {"text": answer.text}

    def part(self, answer: Answer, step: Step, *, first: bool) -> Json:  # noqa: ARG002
        return {"text": step.text}

    def last(self, *, first: bool) -> Json:  # noqa: ARG002
        return {"text": ""}


def prompt_messages(prompt: Any) -> list[Json]:
    """Return prompts or inputs as user messages; token ids have no text."""
    given = prompt if isinstance(prompt, list) else [prompt]
    texts = [text for text in given if isinstance(text, str)]
    return [{"role": "user", "content": text} for text in texts]


def chat_usage(answer: Answer) -> Json:
    usage = answer.usage()
    told = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    return answer.told(told)


def _function(name: str, arguments: str) -> Json:
    return {"name": name, "arguments": arguments}


def _chunk(head: Json, index: int, part: Json, finish: str | None) -> bytes:
    choice = {"index": index, **part, "logprobs": None, "finish_reason": finish}
    return sse({**head, "choices": [choice]})
