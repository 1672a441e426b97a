"""What every framework's front object is made of: a session, agents' limits, tools' costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from budget_core import scope
from budget_core.budget import AgentBudget
from budget_core.limits import Limit, Limits
from budget_core.money import Money, parse_cost
from budget_core.sdk import guard_loaded
from budget_core.session import BudgetSession

if TYPE_CHECKING:
    from types import TracebackType


class Integration:
    """Whose money a framework's calls are.

    Used with ``with`` or ``async with``, it also pays for every SDK call made inside, whoever
    makes it.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        tool_costs: dollars a call, by tool name. Other tools cost nothing, and are counted.
        agents: a limit for all calls of an agent, by its name.
        session: the session whose money it is, in place of `budget`; it is not closed at exit.
        name: the session's id; on a durable ledger the same name goes on where it left off.
        guard_sdks: guard the provider SDKs beneath, so that output is capped and usage exact.
        **options: everything else that `AgentBudget` takes.

    Attributes:
        session: the session whose money it is.
        agents: the sessions of agents that have a limit of their own.
        tool_costs: as given.
    """

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        tool_costs: Mapping[str, Money] | None = None,
        agents: Mapping[str, Money] | None = None,
        session: BudgetSession | None = None,
        name: str | None = None,
        guard_sdks: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        if session is not None and not isinstance(session, BudgetSession):
            raise TypeError(f"session= takes a BudgetSession; got {session!r}")
        if session is not None and (budget is not None or name is not None or options):
            raise TypeError("session= brings its own budget: pass nothing else that describes one")
        self._owned = session is None
        self.session = session or _session(budget, name, options)
        self.guard_sdks = guard_sdks
        self.tool_costs: Mapping[str, Money] = dict(tool_costs or {})
        self._tool_costs = {tool: parse_cost(cost) for tool, cost in self.tool_costs.items()}
        self.agents = _agent_sessions(self.session, agents or {})
        self.guard()

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`)."""
        return self.session.report()

    report = get_report

    def session_of(self, agent: str | None) -> BudgetSession:
        """Return the session that pays for an agent: its own, if it has a limit of its own."""
        return self.agents.get(agent or "", self.session)

    def tool_cost(self, tool: str) -> int:
        """Return the nanos that a call of a tool costs."""
        return self._tool_costs.get(tool, 0)

    def guard(self) -> None:
        """Guard the SDKs that are loaded by now, and those to come, if it is to."""
        if self.guard_sdks:
            guard_loaded()

    def __enter__(self) -> Self:
        self.guard()
        if self._owned:
            self.session.__enter__()
        scope.guard(self.session)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        scope.unguard(self.session)
        if self._owned:
            self.session.__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session!r}>"


@contextmanager
def guarding(session: BudgetSession) -> Iterator[None]:
    """Let `session` pay for every SDK call made inside, whoever makes it."""
    scope.guard(session)
    try:
        yield
    finally:
        scope.unguard(session)


def cut(limit: Money | Limit, session: BudgetSession) -> Limit:
    """Return a limit within a session, cut to what that has left for it."""
    limits = Limits.of(limit)
    return limits.lowered(session.unspent(limits)).every[0]


def _session(
    budget: Money | Limit | AgentBudget | None, name: str | None, options: dict[str, Any]
) -> BudgetSession:
    if not isinstance(budget, AgentBudget):
        return AgentBudget(budget, **options).session(name)
    return budget.session(name, **options)


def _agent_sessions(
    session: BudgetSession, agents: Mapping[str, Money]
) -> dict[str, BudgetSession]:
    """Open the agents' sessions at once, so that none is cut to what others left over."""
    reserve = session.policy.finalization_reserve
    shared = reserve if reserve == "auto" or isinstance(reserve, float) else 0
    return {
        agent: session.child_session(cut(limit, session), finalization_reserve=shared)
        for agent, limit in agents.items()
    }
