"""OpenAI's embeddings: deterministic unit vectors."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from typing import TYPE_CHECKING, Any

from budget_core.testing.openai_chat import prompt_messages
from budget_core.testing.tokens import count_prompts
from budget_core.testing.wire import Json, Wire

if TYPE_CHECKING:
    from budget_core.testing.answer import Answer

DIMENSIONS = 16


class EmbeddingsWire(Wire):
    """``POST /v1/embeddings``."""

    api = "embeddings"
    required = ("input",)
    streams = False
    speaks = False

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body["input"])

    def count(self, body: Json, messages: list[Json]) -> int:  # noqa: ARG002
        return sum(count_prompts(body["input"]))

    def body(self, answer: Answer) -> Json:
        asked = answer.incoming.body
        size = asked.get("dimensions") or DIMENSIONS
        pack = _base64 if asked.get("encoding_format") == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": pack(vector(item, size))}
            for index, item in enumerate(_inputs(asked["input"]))
        ]
        whole: Json = {"object": "list", "data": data, "model": answer.incoming.model}
        if answer.reply.usage:
            tokens = answer.usage().input
            whole["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return whole


def vector(item: Any, size: int) -> list[float]:
    """Return the unit vector of a text or of a list of token ids: the same, always."""
    digest = hashlib.shake_256(json.dumps(item).encode()).digest(size * 2)
    raw = [value - 32767.5 for value in struct.unpack(f"<{size}H", digest)]
    length = math.sqrt(sum(value * value for value in raw))
    return [value / length for value in raw]


def _inputs(given: Any) -> list[Any]:
    single = isinstance(given, str) or isinstance(given[0], int)
    return [given] if single else given


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
