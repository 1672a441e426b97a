"""An agent's last word: what it is told, and whether the reserve may pay for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeVar

from budget_core.calls import context
from budget_core.errors import BudgetExhausted, SessionCancelled, SessionFinalized

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


def may_finalize(session: BudgetSession, error: BudgetExhausted) -> bool:
    """Tell whether the reserve of `session` may pay for a last word after `error`.

    Not where it is over; and an agent that is the tool of another one and spends the same
    session leaves the reserve to that one.
    """
    over = isinstance(error, SessionCancelled | SessionFinalized)
    return not over and session not in context.tool_sessions()


async def spoken(
    ask: Callable[[bool], Awaitable[T]], session: BudgetSession, *, finalize: bool = True
) -> T:
    """Ask a model; if that is refused, ask for the last word, which the reserve pays for.

    Args:
        ask: opens a call, and asks; told whether it is for the last word: without tools then, and
            with `WRAP_UP`.
        session: who pays.
        finalize: False lets the refusal out at once.

    Raises:
        BudgetExhausted: there is nothing left for a last word.
    """
    try:
        return await ask(False)
    except BudgetExhausted as error:
        refusal = error
    if not finalize or not may_finalize(session, refusal):
        raise refusal
    with session.finalize():
        try:
            return await ask(True)
        except BudgetExhausted:
            raise refusal from None


async def streamed(
    ask: Callable[[bool], AsyncGenerator[T, None]],
    session: BudgetSession,
    *,
    finalize: bool = True,
) -> AsyncGenerator[T, None]:
    """Do what `spoken` does, in parts; `ask` opens its call when its first part is asked for."""
    try:
        async with aclosing(ask(False)) as parts:
            async for part in parts:
                yield part
    except BudgetExhausted as error:
        refusal = error
    else:
        return
    if not finalize or not may_finalize(session, refusal):
        raise refusal
    async with aclosing(ask(True)) as parts:
        try:
            with session.finalize():  # and not while a reader does something else
                first = await anext(parts)
        except StopAsyncIteration:
            return
        except BudgetExhausted:
            raise refusal from None
        yield first
        async for part in parts:
            yield part
