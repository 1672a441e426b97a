"""Google's count of tokens: it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.testing.google_gemini import GeminiWire
from budget_core.testing.google_wire import field
from budget_core.testing.wire import Json

if TYPE_CHECKING:
    from budget_core.testing.answer import Answer
    from budget_core.testing.reply import Incoming


class GeminiTokensWire(GeminiWire):
    """``POST .../models/{model}:countTokens``."""

    api = "tokens"
    speaks = False

    def __init__(self) -> None:
        super().__init__(streamed=False)

    def read(self, index: int, path: str, body: Json) -> Incoming:
        """Return what is to be counted: contents alone, or a whole request."""
        request = field(body, "generateContentRequest") or {}
        return super().read(index, path, {**request, **body})

    def body(self, answer: Answer) -> Json:
        tokens = answer.usage().input
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return {"totalTokens": tokens, "promptTokensDetails": details}
