"""Google's embeddings, which say nothing about usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core.testing.google_contents import content_message
from budget_core.testing.google_wire import GoogleWire, field
from budget_core.testing.openai_embeddings import DIMENSIONS, vector
from budget_core.testing.tokens import count_value
from budget_core.testing.wire import Json, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from budget_core.testing.answer import Answer


class EmbedContentWire(GoogleWire):
    """``POST .../models/{model}:embedContent``."""

    api = "embeddings"
    required = ("content",)
    streams = False
    speaks = False

    def requests(self, body: Mapping[str, Any]) -> list[Json]:
        return [dict(body)]

    def messages(self, body: Json) -> list[Json]:
        return [content_message(request["content"]) for request in self.requests(body)]

    def count(self, body: Json, messages: list[Json]) -> int:  # noqa: ARG002
        return sum(max(1, count_value(message["content"])) for message in messages)

    def body(self, answer: Answer) -> Json:
        return {"embedding": self.vectors(answer)[0]}

    def vectors(self, answer: Answer) -> list[Json]:
        return [_embedding(request) for request in self.requests(answer.incoming.body)]


class BatchEmbedContentsWire(EmbedContentWire):
    """``POST .../models/{model}:batchEmbedContents``."""

    required = ("requests",)

    def requests(self, body: Mapping[str, Any]) -> list[Json]:
        return list(body["requests"])

    def body(self, answer: Answer) -> Json:
        return {"embeddings": self.vectors(answer)}


def _embedding(request: Json) -> Json:
    size = field(request, "outputDimensionality") or DIMENSIONS
    text = text_of(content_message(request["content"]))
    return {"values": vector(text, size)}
