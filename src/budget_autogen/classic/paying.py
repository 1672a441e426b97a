"""Whose money it is what runs inside of an agent's reply, or of a chat that it leads.

Who replies pays for everything that runs inside of the reply, replies of others in a nested chat
included. Who leads a chat pays in it for those that have no other payer: an agent that has a
budget of its own is no expense of the one that writes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from budget_autogen.paying import PAYERS, Payers, Trackers
from budget_core.calls import context
from budget_core.runtime.stack import Stack, without

if TYPE_CHECKING:
    from budget_core import BudgetExhausted, BudgetSession


Asker: TypeAlias = tuple[Any, str | None]
_leading: ContextVar[tuple[BudgetSession, ...]] = ContextVar("budget_autogen_chat", default=())
"""What the innermost chat has put among the sessions that claim every call."""
_leaders: ContextVar[Trackers] = ContextVar("budget_autogen_leaders", default=())
"""Who pays here for those that have no other payer."""


@dataclass(eq=False, slots=True)
class Reply:
    """An agent that is about to reply.

    Attributes:
        agent: who replies.
        asker: to whom: an agent, and the name of who spoke last.
        refusal: why it cannot be paid for.
        refused: why its model could not be asked.
        asked: the messages that it was to be asked with, without those of the system.
        context: what `OpenAIWrapper` fills templates in them with.
        ended: the session whose last word this reply is.
    """

    agent: Any
    asker: Asker = (None, None)
    refusal: BudgetExhausted | None = None
    refused: BudgetExhausted | None = None
    asked: tuple[Any, ...] = ()
    context: Any = None
    ended: BudgetSession | None = None


class ChatPayers(Payers):
    """Who pays for an agent or a group chat: its own trackers, else those of who leads the chat.

    Attributes:
        chats: in how many chats that others lead it takes part now.
    """

    def __init__(self, agent: str, *, speaks: bool = True) -> None:
        super().__init__(agent, speaks=speaks)
        self.chats = 0

    @property
    def own(self) -> Trackers:
        return super().trackers

    @property
    def trackers(self) -> Trackers:
        """Who pays, the first in doubt; empty for a guest of a chat that has no payer."""
        return self.own or _leaders.get()


def payers_of(thing: object) -> ChatPayers | None:
    found = getattr(thing, PAYERS, None)
    return found if isinstance(found, ChatPayers) else None


@contextmanager
def paying(payers: Payers, *, leading: bool = False) -> Iterator[None]:
    """Let the payers pay for every call that is made inside, by any agent.

    Args:
        payers: who pays, beside those whose replies this is a part of, and those whom the
            program itself made pay (``with tracker:``).
        leading: they lead a chat, and leave the calls of others who have payers to those.
    """
    if not payers.trackers:
        yield
        return
    known = context.bindings()
    mine = (*payers.joining, payers.session)
    around = reduce(without, _leading.get(), known.claiming)
    leaders, led = _leaders.set(payers.trackers), _leading.set(mine if leading else ())
    try:
        with context.bound(known._replace(claiming=(*around, *mine))):
            yield
    finally:
        _leading.reset(led)
        _leaders.reset(leaders)


@contextmanager
def replying(agent: Any, payers: Payers, asker: Asker = (None, None)) -> Iterator[Reply]:
    """Let an agent pay for its reply; a manager's reply is a chat that it leads."""
    reply = Reply(agent, asker)
    with replies.attached(reply), paying(payers, leading=not payers.speaks):
        yield reply


replies: Final[Stack[Reply]] = Stack("budget_autogen_replies")
"""The replies inside of which this code runs, outermost first."""
