"""Anthropic's count of tokens: it costs nothing."""

from __future__ import annotations

from budget_core.testing.answer import Answer
from budget_core.testing.anthropic_messages import MessagesWire
from budget_core.testing.wire import Json, Wire


class CountTokensWire(MessagesWire):
    """``POST /v1/messages/count_tokens``."""

    api = "tokens"
    required = ("messages",)
    caps = ()
    streams = False
    speaks = False

    def check(self, body: Json) -> None:
        """Refuse a request without messages; a thinking budget has no cap to fit below."""
        Wire.check(self, body)

    def body(self, answer: Answer) -> Json:
        return {"input_tokens": answer.usage().input}
