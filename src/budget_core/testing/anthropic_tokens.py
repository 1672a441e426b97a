"""Anthropic's count of tokens: it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.testing.answer import Answer, nothing
from budget_core.testing.anthropic_messages import MessagesWire
from budget_core.testing.wire import Json, Wire

if TYPE_CHECKING:
    from budget_core.testing.reply import Incoming, Reply


class CountTokensWire(MessagesWire):
    """``POST /v1/messages/count_tokens``."""

    api = "tokens"
    required = ("messages",)
    caps = ()
    streams = False

    def check(self, body: Json) -> None:
        """Refuse a request without messages; a thinking budget has no cap to fit below."""
        Wire.check(self, body)

    def compose(self, incoming: Incoming, reply: Reply, tier: str) -> Answer:
        return nothing(incoming, reply, tier)

    def fee(self, listed: str, incoming: Incoming) -> int:  # noqa: ARG002
        return 0

    def body(self, answer: Answer) -> Json:
        return {"input_tokens": answer.usage().input}
