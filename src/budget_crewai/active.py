"""Which budgets watch the crews that run in this context."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from importlib.metadata import EntryPoint
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from budget_core import AgentBudgetError, BudgetSession, get_session
from budget_core.calls import context

if TYPE_CHECKING:
    from budget_core.money.usd import Money
    from budget_crewai.payer import Payer

_active: ContextVar[tuple[Payer, ...]] = ContextVar("budget_crewai", default=())
_log = logging.getLogger("budget_crewai")


class Watch:
    """A session of `budget_core.init`, which watches wherever it pays.

    Args:
        session: of `init`.
        agents: dollars that agents may spend of it, by name.
        payer: the class of what watches, as an entry point.
    """

    def __init__(
        self, session: BudgetSession, agents: Mapping[str, Money], payer: EntryPoint
    ) -> None:
        self._session = session
        self._payer = payer
        self.agents = agents
        self._made: Payer | None = None
        self._lock = RLock()

    @property
    def middleware(self) -> Payer:
        """What watches; made when a crew first runs."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def end(self) -> None:
        """Watch no longer."""
        if self._made is not None:
            self._made.abandon()

    def _make(self) -> Payer:
        payer: type[Payer] = self._payer.load()
        try:
            return payer(session=self._session, agents=self.agents, guard_sdks=False)
        except AgentBudgetError:
            _log.exception("The limits of agents= are not applied in CrewAI; the budget holds")
            return payer(session=self._session, guard_sdks=False)


watching: dict[BudgetSession, Watch] = {}
_of_sessions: WeakKeyDictionary[BudgetSession, Payer] = WeakKeyDictionary()


def activate(middleware: Payer) -> None:
    """Let it watch the crews that run in this context and in those it starts."""
    _active.set((*_active.get(), middleware))
    _of_sessions[middleware.session] = middleware


def deactivate(middleware: Payer) -> None:
    """Undo `activate`; in a context that never saw it, do nothing."""
    known = _active.get()
    for at in range(len(known) - 1, -1, -1):
        if known[at] is middleware:
            _active.set(known[:at] + known[at + 1 :])
            return


def is_active(middleware: Payer) -> bool:
    """Tell whether it watches here."""
    return middleware in _active.get()


def entered() -> tuple[Payer, ...]:
    """Return the budgets that were activated here."""
    return tuple(dict.fromkeys(_active.get()))


def payers() -> tuple[Payer, ...]:
    """Return the budgets that watch here, the innermost last.

    One that was closed elsewhere still does, and refuses: what outlives its block must not run on
    without it. In a thread that was bound to this context, those watch whose sessions pay there.
    """
    mine = entered() or tuple(
        middleware
        for session in context.guarded()
        if (middleware := _of_sessions.get(session)) is not None
    )
    return tuple(dict.fromkeys((*_offered(), *mine))) if watching else mine


def _offered() -> Iterator[Payer]:
    claiming = context.guarded()
    if not claiming and (session := get_session()) is not None:
        claiming = (session,)
    paying = (above for session in claiming for above in reversed(session.lineage))
    for session in dict.fromkeys(paying):
        if (watch := watching.get(session)) is not None:
            yield watch.middleware
