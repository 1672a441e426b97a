"""What every framework's front object is made of: a session, agents' limits, tools' costs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any, Final, Self

from budget_core.calls import context
from budget_core.calls.request import CallRequest
from budget_core.errors import AmbiguousBudget
from budget_core.frameworks.fingerprints import tool_fingerprint
from budget_core.frameworks.options import check_options
from budget_core.money.limits import Limit
from budget_core.money.usd import Money, parse_cost
from budget_core.runtime.stack import Stack, without
from budget_core.sdk.claims import unclaimed
from budget_core.sdk.installing import guard_loaded
from budget_core.session.budget import AgentBudget
from budget_core.session.session import BudgetSession

_entered: Final[Stack[Integration]] = Stack("budget_integrations")
_watching: Final[dict[BudgetSession, tuple[Integration, ...]]] = {}
_begun: Final[dict[BudgetSession, tuple[Integration, ...]]] = {}
"""Entered somewhere: they pay in threads that are bound to there, and enter none themselves."""

_lock = RLock()  # reentrant: a finalizer may run in here


class Integration:
    """Whose money a framework's calls are.

    Used with ``with`` or ``async with``, it also pays for every SDK call made inside, whoever
    makes it. An adapter derives its front object from this, and asks where its framework calls a
    model or a tool which one is `active`.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        tool_costs: dollars a call, by tool name. Other tools cost nothing, and are counted.
        agents: a limit for all calls of an agent, by its name; or the session that has it.
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
        agents: Mapping[str, Money | BudgetSession] | None = None,
        session: BudgetSession | None = None,
        name: str | None = None,
        guard_sdks: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        check_options(type(self), options)
        if session is not None and not isinstance(session, BudgetSession):
            raise TypeError(f"session= takes a BudgetSession; got {session!r}")
        if session is not None and (budget is not None or name is not None or options):
            raise TypeError("session= brings its own budget: pass nothing else that describes one")
        self._owned = session is None
        self.session = session or _session(budget, name, options)
        self.guard_sdks = guard_sdks
        self.tool_costs: Mapping[str, Money] = dict(tool_costs or {})
        self._tool_costs = {tool: parse_cost(cost) for tool, cost in self.tool_costs.items()}
        self.agents = agent_sessions(self.session, agents or {})
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

    def tool_request(
        self,
        tool: str,
        arguments: Any,
        *,
        agent: str | None = None,
        mixin: type[BaseException] | None = None,
        agent_run: Hashable = None,
    ) -> CallRequest:
        """Return what to open before a tool is called (see `CallRequest`)."""
        return CallRequest(
            kind="tool",
            name=tool,
            cost=self.tool_cost(tool),
            fingerprint=tool_fingerprint(tool, arguments),
            agent=agent,
            mixin=mixin,
            agent_run=agent_run,
        )

    def guard(self) -> None:
        """Guard the SDKs that are loaded by now, and those to come, if it is to."""
        if self.guard_sdks:
            guard_loaded()

    @classmethod
    def active(cls) -> Self | None:
        """Return the one of this class that pays here, the innermost of several; None if none does.

        It was entered here, or watches a session that pays here.
        """
        return next(cls._each_active(), None)

    @classmethod
    def all_active(cls) -> tuple[Self, ...]:
        """Return all of this class that pay here, the innermost first (see `active`)."""
        return tuple(dict.fromkeys(cls._each_active()))

    @classmethod
    def _each_active(cls) -> Iterator[Self]:
        entered = [one for one in reversed(_entered.get()) if isinstance(one, cls)]
        yield from entered
        for session in paying() if _watching or _begun else ():
            begun = () if entered else _begun.get(session, ())
            for one in (*reversed(begun), *reversed(_watching.get(session, ()))):
                if isinstance(one, cls):
                    yield one

    @contextmanager
    def activated(self) -> Iterator[None]:
        """Be `active` inside, where what is asked is paid for already or by other means."""
        with _entered.attached(self):
            yield

    def watch(self) -> Callable[[], None]:
        """Be `active` wherever the session pays, without a ``with``; return what ends that."""
        return _kept(_watching, self)

    def begin(self) -> None:
        """Pay for what is asked in this context from here on; ``with`` does it."""
        context.guard(self.session)
        _entered.attach(self)
        _kept(_begun, self)

    def end(self) -> None:
        """Undo `begin`; in a context that never saw it, end only what is bound to it."""
        try:
            _drop(_begun, self)
        finally:
            _entered.detach(self)
            context.unguard(self.session)

    def __enter__(self) -> Self:
        self.guard()
        if self._owned:
            self.session.__enter__()
        self.begin()
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            self.end()
        finally:
            if self._owned:
                self.session.__exit__(*raised)

    async def __aenter__(self) -> Self:
        self.guard()
        if self._owned:
            await self.session.__aenter__()
        self.begin()
        return self

    async def __aexit__(self, *raised: object) -> None:
        try:
            self.end()
        finally:
            if self._owned:
                await self.session.__aexit__(*raised)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session!r}>"


def paying() -> tuple[BudgetSession, ...]:
    """Return the sessions that pay for what is asked here and those around them, innermost first.

    Empty if several know nothing of each other, and this context names none of them.
    """
    claiming = context.guarded()
    if not claiming:
        try:
            payer = unclaimed()
        except AmbiguousBudget:
            return ()
        claiming = () if payer is None else (payer,)
    lineages = (session.lineage for session in reversed(claiming))
    return tuple(dict.fromkeys(session for lineage in lineages for session in lineage))


@contextmanager
def guarding(session: BudgetSession) -> Iterator[None]:
    """Let `session` pay for every SDK call made inside, from any client."""
    context.guard(session)
    try:
        yield
    finally:
        context.unguard(session)


def _session(
    budget: Money | Limit | AgentBudget | None, name: str | None, options: dict[str, Any]
) -> BudgetSession:
    if not isinstance(budget, AgentBudget):
        return AgentBudget(budget, **options).session(name)
    return budget.session(name, **options)


def agent_sessions(
    session: BudgetSession, agents: Mapping[str, Money | BudgetSession]
) -> dict[str, BudgetSession]:
    """Open the agents' sessions at once, so that none is cut to what others left over."""
    reserve = session.policy.finalization_reserve
    shared = reserve if reserve == "auto" or isinstance(reserve, float) else 0
    return {
        agent: limit
        if isinstance(limit, BudgetSession)
        else session.child_session(limit, cut=True, label=agent, finalization_reserve=shared)
        for agent, limit in agents.items()
    }


def _kept(
    among: dict[BudgetSession, tuple[Integration, ...]], one: Integration
) -> Callable[[], None]:
    with _lock:
        among[one.session] = (*among.get(one.session, ()), one)
    return partial(_drop, among, one)


def _drop(among: dict[BudgetSession, tuple[Integration, ...]], one: Integration) -> None:
    with _lock:
        left = without(among.pop(one.session, ()), one)
        if left:
            among[one.session] = left
