"""An agent's last word: what it is told, and whether the reserve may pay for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from budget_core.calls import context
from budget_core.errors import BudgetExhausted, SessionCancelled, SessionFinalized
from budget_core.frameworks.streams import stepped
from budget_core.frameworks.truncation import repeated, repeated_stream, repeated_sync

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession

T = TypeVar("T")

WRAP_UP: Final = (
    "The budget for this task is nearly spent: this is your last message. Do not call any tool. "
    "Answer now with what you have found so far, and say briefly what is left to be done."
)
SPEECHLESS: Final = "The budget was spent before the answer was complete."
"""What stands for a last word in which the model only asked for tools."""

TOOL_REFUSED: Final = (
    "{tool} was stopped: its budget is spent. Do not call it again; answer with what you have."
)
"""What a model is told of a tool that was refused."""


class LastWord(NamedTuple):
    """How an agent that was refused may end.

    Attributes:
        session: whose reserve pays.
        wrap_up: what the model is told.
        answer: what is said in the model's place, which is then not asked; None if it is.
    """

    session: BudgetSession
    wrap_up: str = WRAP_UP
    answer: Any = None


Payer: TypeAlias = "BudgetSession | Callable[[BudgetExhausted], LastWord]"
"""Whose reserve pays for a last word: a session, or a function that tells of a refusal how the
agent may end, and raises it if it may not."""


def may_finalize(session: BudgetSession, error: BudgetExhausted) -> bool:
    """Return whether the reserve of `session` may pay for a last word after `error`.

    Not where it is over; and an agent that is the tool of another one and spends the same
    session leaves the reserve to that one.
    """
    over = isinstance(error, SessionCancelled | SessionFinalized)
    return not over and session not in context.tool_sessions()


async def spoken(
    ask: Callable[[LastWord | None], Awaitable[T]], payer: Payer, *, finalize: bool = True
) -> T:
    """Ask a model; if that is refused, ask for the last word, which the reserve pays for.

    An answer that the money has cut (see `whole`) is asked for again if there is more for it, and
    else is like a refusal.

    Args:
        ask: opens a call, and asks. Given a `LastWord`, it asks for that: without tools, and with
            its `wrap_up`; given None, for an ordinary answer.
        payer: whose reserve pays: a session, or a function that tells of a refusal how the agent
            may end (see `LastWord`), and raises it if it may not.
        finalize: False lets the refusal out at once.

    Raises:
        BudgetExhausted: there is nothing left for a last word.
    """
    try:
        return await repeated(partial(ask, None))
    except BudgetExhausted as error:
        refusal = error
    word = _chosen(payer, refusal, finalize=finalize)
    if word.answer is not None:
        return cast("T", await word.answer if isawaitable(word.answer) else word.answer)
    with _speaking(word, refusal):
        return await ask(word)


def spoken_sync(ask: Callable[[LastWord | None], T], payer: Payer, *, finalize: bool = True) -> T:
    """Blocking version of `spoken`."""
    try:
        return repeated_sync(partial(ask, None))
    except BudgetExhausted as error:
        refusal = error
    word = _chosen(payer, refusal, finalize=finalize)
    if isawaitable(word.answer):
        raise TypeError(f"on_exhausted= gave {word.answer!r}, which nothing can await here")
    if word.answer is not None:
        return cast("T", word.answer)
    with _speaking(word, refusal):
        return ask(word)


async def streamed(
    ask: Callable[[LastWord | None], AsyncGenerator[T, None]],
    payer: Payer,
    *,
    finalize: bool = True,
) -> AsyncGenerator[T, None]:
    """Stream what `spoken` returns; `ask` opens its call when its first part is asked for."""
    try:
        async with aclosing(repeated_stream(partial(ask, None))) as parts:
            async for part in parts:
                yield part
    except BudgetExhausted as error:
        refusal = error
    else:
        return
    word = _chosen(payer, refusal, finalize=finalize)
    if word.answer is not None:
        yield await word.answer if isawaitable(word.answer) else word.answer
        return
    last = stepped(ask(word), lambda: _speaking(word, refusal))
    async with aclosing(last) as parts:
        async for part in parts:
            yield part


def _chosen(payer: Payer, refusal: BudgetExhausted, *, finalize: bool) -> LastWord:
    if not finalize:
        raise refusal
    if callable(payer):
        return payer(refusal)
    if not may_finalize(payer, refusal):
        raise refusal
    return LastWord(payer)


@contextmanager
def _speaking(word: LastWord, refusal: BudgetExhausted) -> Iterator[None]:
    """Let the reserve pay for what is asked inside; what is refused there was refused before."""
    with word.session.finalize():
        try:
            yield
        except BudgetExhausted:
            raise refusal from None
