"""A session: an account with a policy, and what users hold in their hands."""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from budget_core.calls import context
from budget_core.calls.call import Call
from budget_core.calls.estimator import Costs
from budget_core.calls.loops import LoopWatch
from budget_core.calls.opening import Opening, open_now, open_soon
from budget_core.calls.payer import everyone, groups_of, own_groups
from budget_core.calls.refusals import exhausted_by, stopped_by
from budget_core.calls.request import CallRequest
from budget_core.errors import AgentBudgetError, BudgetExhausted, InvalidBudget, LedgerUnavailable
from budget_core.events import Event, EventKind, ask, tell
from budget_core.ledger import Account, Balance, Denial, Entry, Lasts, Ledger
from budget_core.ledger.reservation import Refusal, Reservation
from budget_core.money.amounts import UNITS, Amounts
from budget_core.money.limits import UNLIMITED, Limit, Limits
from budget_core.money.usage import Usage
from budget_core.money.usd import Money, parse_cost, parse_usd, to_usd
from budget_core.runtime.background import drain
from budget_core.runtime.finalizers import collecting, later, reap
from budget_core.runtime.plugins import asking
from budget_core.runtime.settings import check_settings
from budget_core.runtime.waiting import default_wait
from budget_core.session.alerts import Alerts
from budget_core.session.open_accounts import namesakes
from budget_core.session.policy import DEFAULT_WAIT, Policy, Report, Reserve, TopUp, reserve_for
from budget_core.session.recording import wrapped
from budget_core.session.report import Totals, report
from budget_core.session.tools import tracked

if TYPE_CHECKING:
    from types import TracebackType

    from budget_core.session.screening.screening import Vetting

T = TypeVar("T")
KEPT_EVENTS: Final = 256


class BudgetSession:
    """Money for one piece of work, and the guard in front of it.

    Made by `AgentBudget.session` and `child_session`; use it with ``with`` or ``async with``, or
    without either: its spend rolls up to its parents as it happens. Thread-safe.

    Attributes:
        id: its name, or a made-up one.
        account: its account in the ledger: the id, behind its parents' where ledgers outlive it.
        parent: the session whose money it spends, or None.
        limits: as they stand, top-ups included.
        costs: what its calls may cost, and did.
        groups: the accounts through which its money runs, by ledger.
        alerts: its thresholds.
        totals: the running sums behind the report.
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
    ) -> None:
        self.id = name or f"sess_{uuid.uuid4().hex[:12]}"
        self.parent = parent
        self.account = _account_name(self.id, ledger, parent)
        self._under, self._named = under, bool(name) and _lasting(ledger, parent)
        self.policy = policy
        self._above: tuple[BudgetSession, ...] = parent.lineage if parent else ()
        self.limits = limits if parent is None else limits.lowered(parent.unspent(limits))
        self.ledger = ledger
        self.totals = Totals()
        self.groups = own_groups(self)
        self._namesakes = namesakes(ledger, self.account)
        self._lock = RLock()  # reentrant: a finalizer may run in here
        self._calls: dict[str, Call] = {}
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._children: weakref.WeakSet[BudgetSession] = weakref.WeakSet()
        self._loops = LoopWatch(policy.max_repeated_calls, policy.loop_window_seconds)
        self.alerts: Alerts = Alerts(self)
        self._terminated_by: str | None = None
        self._began = monotonic()
        self._ended: float | None = None
        self.costs: Costs = Costs(policy, parent.costs if parent else None)
        self._vetting = _vetting(policy)
        self._open_account(self.limits if allocate else limits, allocate=allocate, update=update)
        if parent is not None:
            parent.adopt(self)
        if not name:
            weakref.finalize(self, ledger.forget, self.account).atexit = False

    # -- what is left ------------------------------------------------------------------------

    @property
    def limit(self) -> float | None:
        """The limit in dollars, None if dollars are not limited."""
        usd = self.limits.lifelong("usd")
        return None if usd is None else to_usd(usd)

    @property
    def spent(self) -> float:
        """Dollars spent, by this session and its children."""
        return to_usd(self.spent_nanos)

    @property
    def spent_nanos(self) -> int:
        """Exactly what was spent, in nano-dollars."""
        return self.balance().spent.usd

    @property
    def reserved(self) -> float:
        """Dollars held by calls in flight and set aside for children."""
        return to_usd(self.balance().reserved.usd)

    @property
    def remaining(self) -> float | None:
        """Dollars neither spent nor held, the finalization reserve included; None if unlimited."""
        balance, limit = self.balance(), self.limits.lifelong("usd")
        if limit is None:
            return None
        return to_usd(max(0, limit - balance.spent.usd - balance.reserved.usd))

    @property
    def exhausted(self) -> bool:
        """No ordinary call can be paid for any more, or one was refused for want of money."""
        balance = self.balance()
        return (
            self.alerts.hard_limit_told
            or balance.state in ("finalized", "cancelled")
            or any(
                spent >= limit.amount - kept and not limit.period
                for limit in self.limits.every
                for spent, kept in [_of_unit(balance, limit.unit)]
            )
        )

    @property
    def finalized(self) -> bool:
        """The last call was made from the finalization reserve."""
        return self.balance().state == "finalized"

    @property
    def has_last_word(self) -> bool:
        """Something is kept back for a last call, and nobody has made it yet or is about to."""
        balance = self.balance()
        return balance.state == "open" and any(balance.reserve) and not self.last_word_taken

    @property
    def last_word_taken(self) -> bool:
        """The last call was made, or is being made."""
        calls = tuple(self._calls.values())
        return self.finalized or any(call.reservation.final is not None for call in calls)

    @property
    def duration(self) -> float:
        """Seconds since the session began, until it was closed."""
        return (self._ended or monotonic()) - self._began

    @property
    def closed(self) -> bool:
        """It was closed, and not entered again."""
        return self._ended is not None

    @property
    def terminated_by(self) -> str | None:
        """What ended it: "budget_exhausted", "loop_detected", "anomaly", "cancelled", "finalized".

        None if nothing did.
        """
        return self._terminated_by

    @property
    def named(self) -> bool:
        """Its account can be opened again by its name, where the ledger outlives the process."""
        return self._named

    @property
    def lineage(self) -> tuple[BudgetSession, ...]:
        """The session itself and its parents, up to the root."""
        return (self, *self._above)

    def unspent(self, limits: Limits) -> int:
        """Return the most nanos that this session and its parents leave a child with `limits`."""
        most = limits.lifelong("usd") or 0
        for session in self.lineage:
            usd = session.limits.lifelong("usd")
            if usd is not None:
                balance = session.balance()
                most = min(most, max(0, usd - balance.spent.usd - balance.reserve.usd))
        return most

    def balance(self) -> Balance:
        """Return the account's standing, exact."""
        reap()
        drain()
        balance = self.ledger.balance(self.account)
        if self.ledger.outlives and self.parent is None and self.policy.mode == "enforce":
            self.limits = balance.limits  # another process may have topped it up
        return balance

    def would_exceed(self, cost: Money) -> bool:
        """Tell whether `cost` dollars more would be refused now. Records nothing."""
        return self.would_exceed_nanos(parse_cost(cost))

    def would_exceed_nanos(self, cost: int) -> bool:
        """Do what `would_exceed` does, for nano-dollars."""
        drain()
        room = Reservation(self.groups, self.final()).headroom().usd
        return room is not None and cost > room

    def report(self) -> Report:
        """Return what happened so far, JSON-ready: dollars as floats, and exact ``*_nanos``."""
        return report(self)

    def events(self) -> tuple[Event, ...]:
        """Return the last events, oldest first; the full record is the ledger's."""
        return tuple(self._events)

    def children(self) -> tuple[BudgetSession, ...]:
        """Return the child sessions that are still in use."""
        with self._lock:
            return tuple(self._children)

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
        seconds = default_wait() if (wait := self._wait(wait)) is None else wait
        call = open_now(Opening(self, request, self._joined(joining)), seconds)
        context.publish(call)
        return call

    async def open_call_async(
        self,
        request: CallRequest,
        *,
        wait: float | None = None,
        joining: Sequence[BudgetSession] = (),
    ) -> Call:
        """Do what `open_call` does, awaiting instead of blocking; waits 30 seconds by default."""
        reap()
        seconds = DEFAULT_WAIT if (wait := self._wait(wait)) is None else wait
        call = await open_soon(Opening(self, request, self._joined(joining)), seconds)
        context.publish(call)
        return call

    def track(self, result: T = None, cost: Money = 0, tool_name: str = "tool") -> T:  # type: ignore[assignment]
        """Record what a tool cost, in dollars, after the fact; return `result`.

        Raises:
            BudgetExhausted: this brought the spend over the limit. It is recorded all the same,
                and the error carries `result`.
        """
        request = CallRequest(kind="tool", name=tool_name, cost=parse_cost(cost))
        error = self.record(request, Amounts(usd=request.cost, tool_calls=1))
        if error is not None:
            raise error.carrying(result)
        return result

    def record(
        self,
        request: CallRequest,
        amounts: Amounts,
        usage: Usage | None = None,
        *,
        priced: bool = True,
    ) -> BudgetExhausted | None:
        """Record what was spent without a hold; return the error to raise if that was too much."""
        sessions = (self, *self._joined(()))
        reservation = Reservation(groups_of(sessions), self.final())
        before = self.top_ups()
        entries = reservation.charge(amounts)
        call = Call(self, everyone(sessions), request, reservation, None, 0)
        call.ended, call.cost, call.usage, call.priced = True, amounts.usd, usage, priced
        for session in call.sessions:
            session.count(call)
        for session in call.sessions:
            session.settled(call, entries)
        for entry, (ledger, _) in zip(entries, reservation.groups, strict=True):
            if entry.over is not None:
                refusal = Refusal(ledger, entry.over)
                if not self.approved(refusal, before):
                    self._terminated_by = self._terminated_by or "budget_exhausted"
                    return exhausted_by(refusal.denial, self.id, request, paid=True)
        return None

    def track_tool(
        self, cost: Money = 0, tool_name: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a function, coroutine or generator so that every call of it is paid for.

        The cost is held before the call and recorded after it, also if the call raises: what a
        tool's provider was asked, it may bill.
        """
        return tracked(self, parse_cost(cost), tool_name)

    def wrap(self, response: T) -> T:
        """Record what an LLM response cost and return it; a stream is metered as it is read.

        Understands the responses of OpenAI, Anthropic and Google, and LangChain's messages.
        A response that a guard already settled costs nothing more.

        Raises:
            BudgetExhausted: this brought the spend over the limit; it is recorded all the same,
                and the error carries the response.
            UnknownModel: likewise, recorded as unpriced.
        """
        return cast("T", wrapped(self, response))

    async def wrap_async(self, response: Awaitable[T] | T) -> T:
        """Await a response, or take one, and record it as `wrap` does."""
        if isinstance(response, Awaitable):
            response = await response
        return self.wrap(cast("T", response))

    # -- shaping -----------------------------------------------------------------------------

    def child_session(
        self,
        max_spend: Money | Limit | None = None,
        *,
        name: str | None = None,
        allocate: bool = False,
        finalization_reserve: Reserve = 0,
        tokens: int | None = None,
        llm_calls: int | None = None,
        tool_calls: int | None = None,
        **policy: Any,
    ) -> BudgetSession:
        """Return a session with a limit of its own, whose spend is also this session's.

        The limit is cut to what this session has left.

        Args:
            max_spend: in dollars; None limits dollars by this session alone.
            name: its id, made up if None.
            allocate: set the whole limit aside now, so that siblings cannot spend it. It comes
                back when the child is closed or collected.
            finalization_reserve: kept back for the child's own last call.
            tokens: a further limit.
            llm_calls: a further limit.
            tool_calls: a further limit.
            **policy: settings that differ from this session's (see `AgentBudget`).

        Raises:
            UnknownSetting: there is no such setting.
        """
        check_settings(policy, BudgetSession.child_session, Policy)
        limits = Limits.of(
            *(() if max_spend is None else (self._free(max_spend) if allocate else max_spend,)),
            tokens=tokens,
            llm_calls=llm_calls,
            tool_calls=tool_calls,
        )
        settings = replace(self.policy, finalization_reserve=finalization_reserve, **policy)
        return BudgetSession(
            ledger=self.ledger,
            limits=limits,
            policy=settings,
            name=name,
            parent=self,
            allocate=allocate,
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
        more = self.raise_limits(amount, tokens=tokens, llm_calls=llm_calls, tool_calls=tool_calls)
        self.tell_top_up(more)

    def raise_limits(
        self,
        amount: Money | TopUp,
        *,
        tokens: int = 0,
        llm_calls: int = 0,
        tool_calls: int = 0,
    ) -> Amounts:
        """Do what `top_up` does, but for telling; return by how much."""
        amount = amount.amount if isinstance(amount, TopUp) else amount
        more = Amounts(parse_usd(amount), tokens, llm_calls, tool_calls)
        if self.policy.mode == "enforce":
            self.ledger.top_up(self.account, more)
        with self._lock:
            self.limits = self.limits.raised(more)
            self._terminated_by = None
        self.alerts.rearm()
        if self.policy.mode == "enforce" and self.policy.finalization_reserve != "auto":
            kept = reserve_for(self.policy.finalization_reserve, self.limits)
            self.ledger.keep_back(self.account, kept)
        return more

    def tell_top_up(self, more: Amounts) -> None:
        """Tell that the limits were raised."""
        self.emit("top_up", amount=to_usd(more.usd), budget=self.limit)

    def cancel(self) -> None:
        """Pull the kill switch: every later call of this session and its children is refused."""
        self.ledger.close(self.account, "cancelled")
        self._terminated_by = "cancelled"
        self.emit("cancelled")

    def accept_anomaly(self) -> None:
        """Say that what the session does is well: with ``on_anomaly="refuse"``, it goes on."""
        if self._vetting is not None:
            self._vetting.accept()
        self._terminated_by = None

    def conclude(self) -> None:
        """Say that the last word was had, without a call: every later call is refused."""
        self.ledger.close(self.account, "finalized")
        self._terminated_by = "finalized"
        self.emit("finalized")

    @contextmanager
    def finalize(self) -> Iterator[Self]:
        """Let the one call made inside use the finalization reserve; then the session is over."""
        before = context.finalizing()
        context.set_finalizing((*before, self))
        try:
            yield self
        finally:
            context.set_finalizing(before)

    def close(self) -> None:
        """End the session: calls that were left open are charged in full, and new ones refused."""
        if collecting():
            later(self.close)
            return
        for child in self.children():
            child.sweep()
        self.sweep()
        reap()  # here, as somebody may be told of what that ends: not under the lock
        drain()
        with self._namesakes.lock:
            self._namesakes.open.discard(self)
            if not self._namesakes.open:
                self._close_account()
        self._ended = self._ended or monotonic()

    def sweep(self) -> None:
        """Settle calls that nobody ended, as unknown: silence is never free."""
        for call in tuple(self._calls.values()):
            call.settle(None)

    def __enter__(self) -> Self:
        if self._ended is not None:
            self._open_account(self.limits)
            self._ended = None
        context.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        context.leave(self)
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        context.leave(self)
        if self.ledger.blocks:
            await asyncio.to_thread(self.close)
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<BudgetSession {self.id} spent={self.spent} limit={self.limit}>"

    def adopt(self, child: BudgetSession) -> None:
        """Take note of a child session, for the report and for `close`."""
        with self._lock:
            self._children.add(child)

    # -- for calls and adapters --------------------------------------------------------------

    def check_loop(self, request: CallRequest) -> None:
        """Take note of a call; raise LoopDetected if it is one too many of its kind."""
        with self._lock:
            flying = [call.request.fingerprint for call in tuple(self._calls.values())]
            error = self._loops.note(request, flying)
        if error is None:
            return
        self.emit("loop_detected", key=error.key, count=error.count, window=error.window)
        ask(self.policy.on_loop_detected, self.report)
        if self.policy.mode == "enforce":
            self._terminated_by = "loop_detected"
            raise error

    def vet(self, request: CallRequest) -> tuple[str, ...]:
        """Look at a call before it is sent; return the tags of what its prompt holds.

        Raises:
            RiskDetected, AnomalyDetected: it is not to be sent.
        """
        if self._vetting is None:
            return ()
        if (anomaly := self._vetting.refusing(self)) is not None:
            self._terminated_by = "anomaly"
            raise anomaly
        if self.policy.on_risk is None or request.prompt is None:
            return ()
        return self._vetting.prompt(self, request.model, request.prompt)

    def vet_answer(self, call: Call, read: Callable[[], Any]) -> None:
        """Look at what a call was answered, if the policy says so; add tags to those it has.

        Args:
            call: about to be settled.
            read: returns the answer, JSON-like.
        """
        if self._vetting is not None and self.policy.on_risk is not None:
            self._vetting.answer(self, call, read())

    def final(self) -> tuple[Ledger, str] | None:
        """Return the account whose reserve a call made here may use, if one is finalizing."""
        finalizing = context.finalizing()
        for session in self.lineage if finalizing else ():
            if session in finalizing:
                return session.ledger, session.account
        return None

    def remember_call(self, call: Call) -> None:
        """Keep an open call, so that it can be swept."""
        self._calls[call.id] = call

    def forget_call(self, call: Call) -> None:
        """Drop a call that was released."""
        self._calls.pop(call.id, None)
        if self.policy.on_anomaly and call.session is self and self._vetting is not None:
            self._vetting.failed(self, call)

    def top_ups(self) -> int:
        """Count the top-ups of this session and its parents."""
        return sum(session.alerts.top_ups for session in self.lineage)

    def approved(self, refusal: Refusal, before: int) -> bool:
        """Tell the session that is exhausted; True if somebody topped it up, so try again."""
        account = (refusal.ledger, refusal.denial.account)
        owner = next((s for s in self.lineage if (s.ledger, s.account) == account), self)
        return owner.alerts.approve(refusal.denial, lambda: self.top_ups() != before)

    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted:
        """Return the error for a call that was refused, and take note of it."""
        error = exhausted_by(refusal.denial, self.id, request)
        self._terminated_by = self._terminated_by or "budget_exhausted"
        denial = refusal.denial
        self.emit(
            "refused",
            reason=denial.unit if denial.state == "open" else denial.state,
            account=error.account,
            unit=error.unit,
            requested=error.requested,
            remaining=error.remaining,
            name=request.name or request.model,
            kind=request.kind,
            provider=request.provider,
        )
        return error

    def vetoed(self, error: AgentBudgetError, request: CallRequest) -> None:
        """Take note of a call that a plugin refused."""
        self.emit(
            "refused",
            reason=type(error).__name__,
            name=request.name or request.model,
            kind=request.kind,
            provider=request.provider,
        )

    def stopped(self, call: Call) -> BudgetExhausted:
        """Return the error that stops a stream whose hold is spent, and take note of it."""
        error = stopped_by(call, self)
        self._terminated_by = self._terminated_by or "budget_exhausted"
        self.emit("stopped", name=call.request.model, seen=call.output)
        return cast("BudgetExhausted", error.recast(call.request.mixin))

    def count(self, call: Call) -> None:
        """Count an ended call."""
        with self._lock:
            self._calls.pop(call.id, None)
            self.totals.add(call.request, call.cost, call.usage, priced=call.priced)

    def settled(self, call: Call, entries: Sequence[Entry]) -> None:
        """Tell whoever is to be told of an ended call."""
        if call.session is self:
            self._note_call(call, entries)
        if self.policy.finalization_reserve == "auto":
            self._keep_back_after(call)
        for entry in entries:
            if self.account in entry.path:
                self.alerts.watch(entry.after[entry.path.index(self.account)])

    def emit(self, kind: EventKind, /, **data: Any) -> None:
        """Keep an event, and tell those who listen."""
        if self.policy.labels:
            data = {**self.policy.labels, **data}
        event = Event(kind, self.id, time(), data)
        self._events.append(event)
        if self.policy.listeners or asking.listening("budget_event"):
            tell(replace(event, session=self), self.policy.listeners)

    # -- inside ------------------------------------------------------------------------------

    def _open_account(
        self, limits: Limits, *, allocate: bool = False, update: bool = False
    ) -> None:
        limits = limits if self.policy.mode == "enforce" else UNLIMITED
        reserve = reserve_for(self.policy.finalization_reserve, limits)
        inside = self.parent is not None and self.parent.ledger is self.ledger
        under = self.parent.account if self.parent is not None and inside else self._under
        lasts: Lasts = "name" if self._named else "run"
        account = Account(self.account, under, limits, reserve, allocate, lasts)
        self._account = getattr(self, "_account", account)
        with self._namesakes.lock:
            answer = self._opened(update=update)
            if isinstance(answer, Balance):
                self._namesakes.open.add(self)
        if isinstance(answer, Denial):
            request = CallRequest(kind="tool", name=f"session {self.id}", cost=answer.requested)
            raise exhausted_by(answer, self.id, request)
        if self.policy.on_unavailable == "open":
            self.ledger.go_on_without(self.account)
        if any(answer.spent):
            self.alerts.pass_over(answer.spent)

    def _close_account(self) -> None:
        try:
            still_open = self.ledger.balance(self.account).state == "open"
        except LedgerUnavailable:
            still_open = True
        if still_open:
            self.ledger.close(self.account)

    def _opened(self, *, update: bool) -> Balance | Denial:
        try:
            return self.ledger.open(self._account, update=update)
        except KeyError:
            raise InvalidBudget(
                f"Session {self.id!r} is to spend the money of account {self._account.parent!r}, "
                f"which {self.ledger!r} does not know. Declare it once: budget account set "
                f"{self._account.parent} '$500/month', or declare(...) in code."
            ) from None
        except LedgerUnavailable as error:
            raise error.seen_by(self.id) from error.__cause__

    def _wait(self, wait: float | None) -> float | None:
        return self.policy.wait if wait is None else wait

    def _joined(self, joining: Sequence[BudgetSession]) -> tuple[BudgetSession, ...]:
        """Add the sessions that claim everything in this context, but for our own parents."""
        guarded = context.guarded()
        if not joining and (not guarded or guarded == (self,)):
            return ()
        mine = self.lineage
        return tuple(dict.fromkeys(s for s in (*joining, *guarded) if s not in mine))

    def _free(self, max_spend: Money | Limit) -> float:
        """Cut an allocation to what can be set aside at this moment."""
        usd, room = Limit.parse(max_spend).amount, Reservation(self.groups).headroom().usd
        return to_usd(usd if room is None else min(usd, room))

    def _note_call(self, call: Call, entries: Sequence[Entry]) -> None:
        request = call.request
        name = request.name or request.model
        self.emit(
            "call",
            kind=request.kind,
            name=name,
            cost=to_usd(call.cost),
            agent=request.agent,
            provider=request.provider,
            model=call.model,
            usage=call.usage,
            priced=call.priced,
            seconds=time() - call.began,
            risks=list(call.risks),
            iteration=self.totals.llm_calls if call.kind == "llm" else None,
        )
        for entry in entries:
            if entry.late:
                self.emit("late", name=name, cost=to_usd(call.cost))
            if (over := entry.over) is not None and over.spent > over.limit:
                self.emit("overage", account=over.account, unit=over.unit)
        if call.reservation.final is not None and self.finalized:
            self._terminated_by = "finalized"
            self.emit("finalized")
        if self.policy.on_anomaly and self._vetting is not None:
            self._vetting.settled(self, call)

    def _keep_back_after(self, call: Call) -> None:
        """Keep back what one more call on the present context would take."""
        price = call.quote.rates if call.quote is not None else None
        if price is not None and call.usage is not None and not self.finalized:
            self.ledger.keep_back(self.account, self.costs.one_more(price, call.usage))


def _vetting(policy: Policy) -> Vetting | None:
    if policy.on_risk is None and policy.on_anomaly is None:
        return None
    from budget_core.session.screening.screening import Vetting  # noqa: PLC0415  its patterns take time to compile

    return Vetting()


def _account_name(name: str, ledger: Ledger, parent: BudgetSession | None) -> str:
    """Name an account so that agents of two sessions may be called the same."""
    if parent is None or not ledger.outlives or parent.ledger is not ledger:
        return name
    return f"{parent.account}/{name}"


def _lasting(ledger: Ledger, parent: BudgetSession | None) -> bool:
    """Tell whether somebody can name a child of `parent` again."""
    inside = parent is not None and parent.ledger is ledger
    return parent is None or not inside or parent.named


def _of_unit(balance: Balance, unit: str) -> tuple[int, int]:
    at = UNITS.index(unit)
    return balance.spent[at], balance.reserve[at]


AsyncBudgetSession = BudgetSession
"""The same class: every session works with ``with`` and with ``async with``."""
