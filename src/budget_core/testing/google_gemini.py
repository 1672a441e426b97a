"""Google's Gemini: contents, whole or as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from budget_core.testing.google_candidates import chunks, whole
from budget_core.testing.google_contents import content_messages, listed
from budget_core.testing.google_wire import GoogleWire, field
from budget_core.testing.tokens import count_schema
from budget_core.testing.wire import Frame, Json, encoded, positive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer
    from budget_core.testing.reply import Api


class GeminiWire(GoogleWire):
    """``POST .../models/{model}:generateContent`` and ``:streamGenerateContent``."""

    api: ClassVar[Api] = "gemini"
    required = ("contents",)

    def messages(self, body: Json) -> list[Json]:
        return content_messages(body)

    def count(self, body: Json, messages: list[Json]) -> int:
        """Return the input tokens, with those of the tools and of the schema to answer in."""
        config = _config(body)
        schema = field(config, "responseSchema") or field(config, "responseJsonSchema")
        return super().count(body, messages) + count_schema(schema)

    def tools(self, body: Json) -> tuple[str, ...]:
        return tuple(name for tool in listed(body.get("tools")) for name in _tool_names(tool))

    def choices(self, body: Json) -> int:
        return positive("candidateCount", field(_config(body), "candidateCount") or 1)

    def cap(self, body: Json) -> int | None:
        """Return the cap on the output of one candidate, with its thoughts."""
        given = field(_config(body), "maxOutputTokens")
        return None if given is None else positive("maxOutputTokens", given)

    def body(self, answer: Answer) -> Json:
        return whole(answer)

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """Yield server-sent events if ``alt=sse`` asks for them, else the pieces of an array."""
        if _is_sse(answer):
            for chunk, tokens in chunks(answer):
                yield Frame(b"data: " + encoded(chunk) + b"\r\n\r\n", tokens)
            return
        before = b"["
        for chunk, tokens in chunks(answer):
            yield Frame(before + encoded(chunk), tokens)
            before = b",\r\n"
        yield Frame(b"]")

    def stream_type(self, answer: Answer) -> str:
        return super().stream_type(answer) if _is_sse(answer) else "application/json"


def _is_sse(answer: Answer) -> bool:
    return answer.incoming.query.get("alt") == "sse"


def _config(body: Json) -> Json:
    config: Json = field(body, "generationConfig") or {}
    return config


def _tool_names(tool: Any) -> list[str]:
    declared = field(tool, "functionDeclarations")
    return list(tool) if declared is None else [str(one["name"]) for one in listed(declared)]
