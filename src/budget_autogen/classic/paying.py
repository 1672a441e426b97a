"""Whose money it is what runs inside of an agent's reply, or of a chat that it leads.

Who replies pays for everything that runs inside of the reply, replies of others in a nested chat
included. Who leads a chat pays in it for those for whom nobody else does: an agent that has a
budget of its own is no expense of the one that writes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from budget_autogen.payers import Payers
from budget_core import scope

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker
    from budget_core import BudgetExhausted, BudgetSession

Trackers: TypeAlias = "tuple[AutoGenBudgetTracker, ...]"

_leading: ContextVar[tuple[BudgetSession, ...]] = ContextVar("budget_autogen_chat", default=())
"""What the innermost chat has put among the sessions that claim every call."""
_leaders: ContextVar[Trackers] = ContextVar("budget_autogen_leaders", default=())
"""Who pays here for those for whom nobody else does."""
_replies: ContextVar[tuple[Reply, ...]] = ContextVar("budget_autogen_replies", default=())


@dataclass(eq=False, slots=True)
class Reply:
    """An agent that is about to reply.

    Attributes:
        agent: who replies.
        refused: why its model could not be asked.
        asked: the messages that it was to be asked with, without those of the system.
        context: what `OpenAIWrapper` fills templates in them with.
        ended: the session whose last word this reply is.
    """

    agent: Any
    refused: BudgetExhausted | None = None
    asked: tuple[Any, ...] = ()
    context: Any = None
    ended: BudgetSession | None = None


class ChatPayers(Payers):
    """Who pays for an agent or a group chat: its own trackers, else those of who leads the chat.

    Attributes:
        own: the trackers that it is attached to.
        chats: in how many chats that others lead it takes part now.
    """

    def __init__(self, agent: str, *, speaks: bool = True) -> None:
        self.own: Trackers = ()
        self.chats = 0
        super().__init__(agent, speaks=speaks)

    @property
    def trackers(self) -> Trackers:
        """Who pays, the innermost first; nobody for a guest of a chat that nobody pays for."""
        return self.own or _leaders.get()

    @trackers.setter
    def trackers(self, trackers: Trackers) -> None:
        self.own = trackers

    def add(self, tracker: AutoGenBudgetTracker) -> None:
        """Let a tracker pay as well."""
        token = _leaders.set(())
        try:
            super().add(tracker)
        finally:
            _leaders.reset(token)

    def remove(self, tracker: AutoGenBudgetTracker) -> None:
        """Undo `add`."""
        self.own = tuple(known for known in self.own if known is not tracker)

    def session_for(self, tracker: AutoGenBudgetTracker) -> BudgetSession:
        """Return in which session a tracker pays."""
        return tracker.session_of(self.agent)

    def refused_by(self, error: BudgetExhausted) -> tuple[AutoGenBudgetTracker, BudgetSession]:
        """Return the tracker whose limit it was, with its session; the innermost if in doubt."""
        for tracker in self.trackers:
            if (session := self.session_for(tracker)).id == error.account:
                return tracker, session
        return self.trackers[0], self.session


@contextmanager
def paying(payers: Payers, *, leading: bool = False) -> Iterator[None]:
    """Let the payers pay for every call that is made inside, whoever makes it.

    Args:
        payers: who pays, beside those whose replies this is a part of, and those whom the
            program itself made pay (``with tracker:``).
        leading: they lead a chat, and leave the calls of others who have payers to those.
    """
    if not payers.trackers:
        yield
        return
    known = scope.bindings()
    mine = (*payers.joining, payers.session)
    leaders, led = _leaders.set(payers.trackers), _leading.set(mine if leading else ())
    try:
        around = _without(known.guarded, led.old_value)
        with scope.bound(known._replace(guarded=(*around, *mine))):
            yield
    finally:
        _leading.reset(led)
        _leaders.reset(leaders)


@contextmanager
def replying(agent: Any, payers: Payers) -> Iterator[Reply]:
    """Let an agent pay for its reply; a manager's reply is a chat that it leads."""
    reply = Reply(agent)
    token = _replies.set((*_replies.get(), reply))
    try:
        with paying(payers, leading=not payers.speaks):
            yield reply
    finally:
        _replies.reset(token)


def replies() -> tuple[Reply, ...]:
    """Return the replies inside of which this code runs, outermost first."""
    return _replies.get()


def _without(sessions: tuple[BudgetSession, ...], leading: Any) -> tuple[BudgetSession, ...]:
    """Take out what a chat has put in, and leave what others have."""
    rest = list(reversed(sessions))
    for session in leading if isinstance(leading, tuple) else ():
        if session in rest:
            rest.remove(session)
    return tuple(reversed(rest))
