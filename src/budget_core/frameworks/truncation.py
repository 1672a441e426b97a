"""An answer that the money has cut is none: it is asked for again, or refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from budget_core.calls import context
from budget_core.errors import AnswerTruncated, BudgetExhausted
from budget_core.frameworks.streams import stepped

if TYPE_CHECKING:
    from budget_core.calls.call import Call

T = TypeVar("T")


def whole(call: Call, answer: T, *, text: bool = False) -> T:
    """Return an answer, unless it was cut by the cap that the money pays for.

    Args:
        call: that brought it, ended by now.
        answer: as the framework gives it.
        text: nothing but text is wanted of it; of a last word, a part is then better than none.

    Raises:
        AnswerTruncated: it was cut; its `result` is the answer.
    """
    if not call.truncated or (text and call.reservation.final is not None):
        return answer
    over = context.here().wanted is None
    raise call.payer.cut_off(call, over=over).carrying(answer)


class _Attempts:
    """Asks that are made again for an answer of twice the length, after one that was cut."""

    def __init__(self) -> None:
        self._cut: AnswerTruncated | None = None

    @property
    def wanted(self) -> int:
        return 0 if self._cut is None else 2 * self._cut.cap

    def failed(self, error: BudgetExhausted) -> None:
        """Return if it is to be asked again; else raise, with what was paid for before."""
        before = self._cut
        if isinstance(error, AnswerTruncated) and error.cap >= max(1, self.wanted):
            self._cut = error
            return
        if before is not None and error.result is None:
            error.carrying(before.result)
        raise error


async def repeated(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a model, and again while the answer is cut and there is money for one twice as long.

    Args:
        ask: opens a call, asks, and gives what comes of it to `whole`.

    Raises:
        BudgetExhausted: it was refused, and carries as its `result` what was cut before that.
    """
    attempts = _Attempts()
    while True:
        with context.wanting(attempts.wanted):
            try:
                return await ask()
            except BudgetExhausted as error:
                attempts.failed(error)


def repeated_sync(ask: Callable[[], T]) -> T:
    """Blocking version of `repeated`."""
    attempts = _Attempts()
    while True:
        with context.wanting(attempts.wanted):
            try:
                return ask()
            except BudgetExhausted as error:
                attempts.failed(error)


async def repeated_stream(ask: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """Streaming version of `repeated`: an answer that was cut is followed by the next."""
    attempts = _Attempts()
    while True:
        stream = stepped(ask(), partial(context.wanting, attempts.wanted))
        try:
            async with aclosing(stream) as parts:
                async for part in parts:
                    yield part
        except BudgetExhausted as error:
            attempts.failed(error)
        else:
            return
