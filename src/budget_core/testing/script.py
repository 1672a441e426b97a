"""What a test provider answers, at what prices, and the book of what it billed."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from budget_core.testing.book import Book
from budget_core.testing.manners import Manners
from budget_core.testing.prices import Catalogue
from budget_core.testing.reply import Incoming, Reply

Responder: TypeAlias = Callable[[Incoming], Reply | Awaitable[Reply | None] | None]


class Script:
    """The replies that are still to be sent, in order, then the responder, then the default."""

    def __init__(self, default: Reply) -> None:
        self.default = default
        self.errors: list[BaseException] = []
        self.book = Book()
        self.catalogue = Catalogue()
        self.manners = Manners()
        self.responder: Responder | None = None
        self._lock = threading.Lock()
        self._replies: deque[Reply] = deque()

    def extend(self, replies: Iterable[Reply]) -> None:
        with self._lock:
            self._replies.extend(replies)

    def reset(self) -> None:
        """Forget everything but the prices and the default."""
        with self._lock:
            self._replies.clear()
        self.responder = None
        self.errors.clear()
        self.book.forget()

    async def choose(self, incoming: Incoming) -> Reply:
        with self._lock:
            if self._replies:
                return self._replies.popleft()
        if self.responder is None:
            return self.default
        reply = self.responder(incoming)
        if inspect.isawaitable(reply):
            reply = await reply
        return self.default if reply is None else reply

    def continued(self, incoming: Incoming) -> Incoming:
        earlier = incoming.body.get("previous_response_id")
        if earlier is None or incoming.api != "responses":
            return incoming
        number = str(earlier).removeprefix("resp_")
        bills = self.book.bills
        if not number.isdecimal() or int(number) >= len(bills):
            return incoming
        bill = bills[int(number)]
        return replace(
            incoming, input_tokens=incoming.input_tokens + bill.input_tokens + bill.output_tokens
        )
