"""A session: an account with a policy, and what users hold in their hands."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from budget_core.calls import context
from budget_core.calls.estimator import Estimator
from budget_core.calls.opening import Opening, open_now, open_soon
from budget_core.calls.request import CallRequest
from budget_core.errors import BudgetExhausted
from budget_core.events import Event
from budget_core.ledger import Ledger
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits
from budget_core.money.usd import Money, parse_cost, parse_usd
from budget_core.runtime.background import asked, drain
from budget_core.runtime.finalizers import collecting, later, reap
from budget_core.runtime.settings import check_settings
from budget_core.session.admission import Admission
from budget_core.session.alerts import Alerts
from budget_core.session.children import Children
from budget_core.session.log import SessionLog
from budget_core.session.open_calls import OpenCalls
from budget_core.session.policy import Policy, Report, Reserve, TopUp
from budget_core.session.recorded import Recording
from budget_core.session.report import report
from budget_core.session.standing import Standing
from budget_core.session.tools import tracked

if TYPE_CHECKING:
    from budget_core.calls.call import Call

T = TypeVar("T")


class BudgetSession(Recording):
    """Money for one piece of work, and the guard in front of it.

    Made by `AgentBudget.session` and `child_session`; use it with ``with`` or ``async with``, or
    without either: its spend rolls up to its parents as it happens. Thread-safe.

    Attributes:
        id: its name, or a made-up one.
        label: what reports call it beside that, or None.
        parent: the session whose money it spends, or None.
        policy: its settings.
        standing: how its account stands in the ledger.
        estimator: what its calls may cost, and did.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        limits: Limits,
        policy: Policy,
        name: str | None = None,
        parent: BudgetSession | None = None,
        under: str | None = None,
        update: bool = False,
        allocate: bool = False,
        label: str | None = None,
        cut: bool = False,
    ) -> None:
        self.label = label
        self.id = name or f"sess_{uuid.uuid4().hex[:12]}"
        self.parent = parent
        self.policy = policy
        self.above: tuple[BudgetSession, ...] = parent.lineage if parent else ()
        self.estimator: Estimator = Estimator(
            allows_unpriced=policy.allows_unpriced,
            allows_unbounded=policy.allows_unbounded,
            told_costs=policy.costs == "provider",
            charges_holds=policy.on_broken == "hold",
            above=parent.estimator if parent else None,
        )
        self.standing = Standing(
            name=self.id,
            ledger=ledger,
            limits=limits,
            policy=policy,
            parent=parent.standing if parent else None,
            under=under,
            made_up=not name,
            allocate=allocate,
            cut=cut,
            update=update,
        )
        self.ledger, self.account = ledger, self.standing.account
        self.groups, self.blocks = self.standing.groups, self.standing.blocks
        unheld = weakref.ref(self)  # no cycle: it is collected
        self._log, self._calls = SessionLog(self.id, policy, unheld), OpenCalls(unheld)
        self.totals, calls = self._calls.totals, self._calls
        self.opened, self.count = calls.opened, calls.count
        self._admission = Admission(policy, self.standing, self._log, calls.fingerprints)
        self.admit, self.answered = self._admission.admit, self._admission.answered
        self.alerts: Alerts = Alerts(policy, self.standing, self._log)
        self._children = Children()
        self._overdrawn: BudgetExhausted | None = None
        self._began, self._ended = monotonic(), cast("float | None", None)
        if parent is not None:
            parent._children.add(self)  # noqa: SLF001  a session, too

    # -- what is left ------------------------------------------------------------------------

    @property
    def duration(self) -> float:
        """Seconds since the session began, until it was closed."""
        return (self._ended or monotonic()) - self._began

    def report(self) -> Report:
        """Return what happened so far, JSON-ready: dollars as floats, and exact ``*_nanos``.

        ``children`` names a hundred, ended ones included; ``other_children`` sums up the rest.
        """
        parts = self.standing, self.totals, self._log, self._children
        return report(*parts, seconds=self.duration)

    def events(self) -> tuple[Event, ...]:
        """Return the last events, oldest first; the full record is the ledger's."""
        return self._log.events()

    def children(self) -> tuple[BudgetSession, ...]:
        """Return the child sessions that are still in use."""
        return self._children.live()

    # -- spending ----------------------------------------------------------------------------

    def open_call(
        self,
        request: CallRequest,
        *,
        wait: float | None = None,
        joining: Sequence[BudgetSession] = (),
    ) -> Call:
        """Hold a call's worst case in this session and all its parents, before it is sent.

        Args:
            request: what is about to be called.
            wait: seconds to wait for other calls' holds to end when money is short. By default
                the policy's, else 30; 0 where an event loop runs in this thread.
            joining: further sessions whose money it is as well.

        Raises:
            BudgetExhausted: it does not fit. LoopDetected, UnknownModel, Unbounded: as they say.
        """
        reap()
        joined = self._joined(joining) if joining or context.here().claiming else ()
        return open_now(Opening(self, request, joined), self.policy.wait if wait is None else wait)

    async def open_call_async(
        self,
        request: CallRequest,
        *,
        wait: float | None = None,
        joining: Sequence[BudgetSession] = (),
    ) -> Call:
        """Async version of `open_call`; waits 30 seconds by default."""
        reap()
        joined = self._joined(joining) if joining or context.here().claiming else ()
        wait = self.policy.wait if wait is None else wait
        return await open_soon(Opening(self, request, joined), wait)

    def track_tool(
        self, cost: Money = 0, tool_name: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a function, coroutine or generator so that every call of it is paid for.

        The cost is held before the call and recorded after it, also if the call raises: what a
        tool's provider was asked, it may bill.
        """
        return tracked(self, parse_cost(cost), tool_name)

    # -- shaping -----------------------------------------------------------------------------

    def child_session(
        self,
        max_spend: Money | Limit | None = None,
        *,
        name: str | None = None,
        allocate: bool = False,
        cut: bool = False,
        finalization_reserve: Reserve = 0,
        tokens: int | None = None,
        llm_calls: int | None = None,
        tool_calls: int | None = None,
        label: str | None = None,
        **policy: Any,
    ) -> BudgetSession:
        """Return a session with a limit of its own, cut to what is left; it spends from this one.

        Args:
            max_spend: in dollars; None limits dollars by this session alone.
            name: its id, made up if None.
            allocate: set the whole limit aside until the child is closed, or collected.
            cut: keep to what the limit is cut to, whatever is topped up later.
            finalization_reserve: kept back for the child's own last call.
            tokens: a further limit.
            llm_calls: a further limit.
            tool_calls: a further limit.
            label: what reports call it beside its id: an agent's name, which need not be unique.
            **policy: settings that differ from this session's (see `AgentBudget`).

        Raises:
            UnknownSetting: there is no such setting.
        """
        check_settings(policy, BudgetSession.child_session, Policy)
        if max_spend is not None and allocate:
            max_spend = self.standing.allocatable(max_spend)
        spend = () if max_spend is None else (max_spend,)
        limits = Limits.of(*spend, tokens=tokens, llm_calls=llm_calls, tool_calls=tool_calls)
        return BudgetSession(
            ledger=self.ledger,
            limits=limits,
            policy=self.policy.but(finalization_reserve=finalization_reserve, **policy),
            name=name,
            parent=self,
            allocate=allocate,
            label=label,
            cut=cut,
        )

    def top_up(
        self,
        amount: Money | TopUp = 0,
        *,
        tokens: int = 0,
        llm_calls: int = 0,
        tool_calls: int = 0,
    ) -> None:
        """Raise the limits: the session goes on, and its thresholds are armed again."""
        usd = parse_usd(amount.amount if isinstance(amount, TopUp) else amount)
        more = Amounts(usd, tokens, llm_calls, tool_calls)
        self.alerts.raise_limits(more)
        self.alerts.tell_top_up(more)

    def cancel(self) -> None:
        """Pull the kill switch: every later call of this session and its children is refused."""
        self.standing.cancel()
        self._log.terminated_by = "cancelled"
        self._log.emit("cancelled")

    def accept_anomaly(self) -> None:
        """Say that what the session does is well: with ``on_anomaly="refuse"``, it goes on."""
        self._admission.accept_anomaly()

    def conclude(self) -> None:
        """Say that the last word was had, without a call: every later call is refused."""
        self.standing.conclude()
        self._finalized()

    @contextmanager
    def finalize(self) -> Iterator[Self]:
        """Let the one call made inside use the finalization reserve; then the session is over."""
        with context.finalize(self):
            yield self

    def close(self) -> None:
        """End the session: calls that were left open are charged in full, and new ones refused."""
        if collecting():
            later(self.close)
            return
        for child in self.children():
            child.sweep()
        self.sweep()
        reap()  # here, as listeners are told of what that ends: not under the lock
        drain()
        self.standing.close()
        self._ended = self._ended or monotonic()

    def sweep(self) -> None:
        """Settle calls that were not ended, as unknown: silence is never free."""
        self._calls.sweep()

    def __enter__(self) -> Self:
        self._reopen()
        context.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        context.leave(self)
        self.close()

    async def __aenter__(self) -> Self:
        await asked(self._reopen, blocks=self.ledger.blocks)
        context.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        context.leave(self)
        await asked(self.close, blocks=self.ledger.blocks)

    def _reopen(self) -> None:
        if self._ended is not None:
            self.alerts.pass_over(self.standing.open())
            self._ended = None

    def __repr__(self) -> str:
        return f"<BudgetSession {self.id} spent={self.spent} limit={self.limit}>"


AsyncBudgetSession = BudgetSession
"""The same class: every session works with ``with`` and with ``async with``."""
