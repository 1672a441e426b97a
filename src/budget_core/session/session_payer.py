"""A session as the payer of calls (see `budget_core.calls.payer.Payer`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, cast

from budget_core.calls import context
from budget_core.calls.payer import everyone, groups_of
from budget_core.calls.refusals import exhausted_by, stopped_by, truncated_by
from budget_core.events import ask
from budget_core.ledger.reservation import Group, Refusal, Reservation
from budget_core.runtime.background import behind, in_event_loop
from budget_core.session.balance_view import BalanceView
from budget_core.session.recording import RecordedCall

if TYPE_CHECKING:
    from budget_core.calls.estimator import Estimator
    from budget_core.calls.payer import Admitted, PaidCall, Payer
    from budget_core.calls.request import CallRequest
    from budget_core.errors import AgentBudgetError, BudgetExhausted
    from budget_core.events import EventKind
    from budget_core.ledger import Entry, Ledger, State
    from budget_core.money.amounts import Amounts
    from budget_core.money.usage import Usage
    from budget_core.session.admission import Admission
    from budget_core.session.policy import Policy


_ENDINGS: Final[Mapping[State, str]] = {"cancelled": "cancelled", "finalized": "finalized"}


class SessionPayer(BalanceView):
    """Answers what a call asks of its payer, and hears how the call ended.

    Attributes:
        id: the session's name.
        policy: its settings.
        estimator: what its calls may cost, and did.
        above: its parents, up to the root.
        groups: the accounts through which its money runs, by ledger.
        blocks: one of these ledgers may block on I/O.
        opened, count: keep a call that was opened, and count one that was settled.
        admit, answered: return what may be sent, and search an answer for risks.
    """

    id: str
    policy: Policy
    estimator: Estimator
    groups: tuple[Group, ...]
    blocks: bool
    opened: Callable[[PaidCall], None]
    count: Callable[[PaidCall], None]
    admit: Callable[[CallRequest], Admitted]
    answered: Callable[[PaidCall, Callable[[], Any]], None]
    above: tuple[Self, ...]
    _ended: float | None
    _overdrawn: BudgetExhausted | None
    _admission: Admission

    @property
    def closed(self) -> bool:
        """It was closed, and not entered again."""
        return self._ended is not None

    @property
    def lineage(self) -> tuple[Self, ...]:
        return (self, *self.above)

    @property
    def refuses_unpriced(self) -> bool:
        """What has no price raises."""
        return not self.policy.allows_unpriced

    def start(self) -> None:
        """Open its account, if that was left until it is used."""
        self.standing.start()

    def final(self) -> tuple[Ledger, str] | None:
        """Return the account whose reserve a call made here may use, if one is finalizing."""
        return self.standing.final()

    @property
    def in_flight(self) -> int:
        """How many calls have not ended, those of its children included."""
        return len(self._calls)

    def top_ups(self) -> int:
        """Count the top-ups of this session and its parents."""
        return sum(session.alerts.top_ups for session in self.lineage)

    def approved(self, refusal: Refusal, before: int) -> bool:
        """Tell the session that is exhausted; True if it was topped up, so try again."""
        account = (refusal.ledger, refusal.denial.account)
        owner = next((s for s in self.lineage if (s.ledger, s.account) == account), self)
        return owner.alerts.approve(refusal.denial, lambda: self.top_ups() != before)

    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted:
        """Return the error for a call that was refused, and record it."""
        error = exhausted_by(refusal.denial, self.id, request)
        self._terminate(refusal.denial.state)
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

    def stopped(self, call: PaidCall) -> BudgetExhausted:
        """Return the error that stops a stream whose hold is spent, and record it."""
        error = stopped_by(
            call, self.id, limit=self.limit, spent=self.spent, remaining=self.remaining
        )
        self._log.terminate("budget_exhausted")
        self.emit("stopped", name=call.request.model, seen=call.output)
        return error.recast(call.request.mixin)

    def likely(self, model: str) -> int:
        """Return the tokens below which an answer of a model is not to be cut.

        What whoever asks again wants of it; and where a last word can be said instead, the longest
        of the model's latest answers here.
        """
        wanted = context.here().wanted or 0
        return max(wanted, self.estimator.recent.get(model, 0)) if self.has_last_word else wanted

    def cut_off(self, call: PaidCall, *, over: bool) -> BudgetExhausted:
        """Return the error in place of an answer that was cut; `over`: it is not asked again."""
        error = truncated_by(
            call, self.id, limit=self.limit, spent=self.spent, remaining=self.remaining
        )
        if over:
            self._log.terminate("budget_exhausted")
            self.alerts.cut_off = True
        return cast("BudgetExhausted", error.recast(call.request.mixin))

    def ended(self, call: PaidCall, entries: Sequence[Entry]) -> None:
        """Tell of a call that was settled, and of thresholds that it crossed."""
        if call.payer is self:
            self._log.ended(call, entries, call.number)
            if call.truncated:
                self._tell_truncated(call)
            if call.reservation.final is not None and self.finalized:
                self._finalized()
            if self._admission.screening is not None:
                self._admission.ended(call)
        if self.policy.finalization_reserve == "auto":
            self._keep_back_after(call)
        account = self.account
        for entry in entries:
            path = entry.path
            if path and path[0] == account:
                self.alerts.watch(entry.after[0])
            elif account in path:
                self.alerts.watch(entry.after[path.index(account)])

    def released(self, call: PaidCall) -> None:
        """Drop a call that was released."""
        self._calls.released(call)
        if call.payer is cast("Payer", self):
            self._admission.released(call)

    def emit(self, kind: EventKind, /, **data: Any) -> None:
        """Keep an event, and tell those who listen."""
        self._log.emit(kind, **data)

    def record(
        self,
        request: CallRequest,
        amounts: Amounts,
        usage: Usage | None = None,
        *,
        priced: bool = True,
        streamed: bool = False,
        source: str | None = None,
    ) -> BudgetExhausted | None:
        """Record what was spent without a hold; return the error to raise if that was too much.

        A stream that was begun in time may be read after its session was closed.
        """
        charge = partial(
            self._charge, request, amounts, usage, priced=priced, streamed=streamed, source=source
        )
        if not (self.blocks and in_event_loop()):
            return charge()

        def later_on() -> None:
            self._overdrawn = charge() or self._overdrawn

        error, self._overdrawn = self._overdrawn, None
        behind(later_on)
        return error

    def keep_back(self, amounts: Amounts) -> None:
        """Keep this much back for the last call, in place of what was kept back before."""
        self.standing.keep_back(amounts)

    def owns(self, error: AgentBudgetError) -> bool:
        """Return whether an error is about this very session's limit."""
        return self.standing.owns(error)

    # -- inside ------------------------------------------------------------------------------

    def _charge(
        self,
        request: CallRequest,
        amounts: Amounts,
        usage: Usage | None = None,
        *,
        priced: bool = True,
        streamed: bool = False,
        source: str | None = None,
    ) -> BudgetExhausted | None:
        standing = self.standing
        if not standing.started:
            standing.start()
        payers: tuple[Payer, ...] = (self, *self.above)
        groups, final = self.groups, None
        inside = context.here()
        if inside.claiming and (joined := self._joined(())):
            for session in joined:
                session.start()
            payers, groups = everyone((self, *joined)), groups_of((self, *joined))
        if inside.finalizing:
            final = standing.final()
        before = self.top_ups() if self.above else self.alerts.top_ups
        reservation = Reservation(groups, final)
        entries = reservation.charge(amounts)
        call = RecordedCall(
            self, request, reservation, amounts.usd, usage, priced=priced, source=source
        )
        for payer in payers:
            payer.count(call)
        for payer in payers:
            payer.ended(call, entries)
        for entry, (ledger, _) in zip(entries, groups, strict=True):
            if (over := entry.over) is not None:
                refusal = Refusal(ledger, over)
                closed = over.state == "closed" and over.spent <= over.limit
                if not (streamed and closed) and not self.approved(refusal, before):
                    self._terminate(over.state)
                    return exhausted_by(refusal.denial, self.id, request, paid=True)
        return None

    def _terminate(self, state: State) -> None:
        """Record what ended the session, if a refusal by an account in this state did."""
        if state != "closed":
            self._log.terminate(_ENDINGS.get(state, "budget_exhausted"))

    def _joined(self, joining: Sequence[Self]) -> tuple[Self, ...]:
        """Add the sessions that claim everything in this context, but for our own parents."""
        guarded = context.guarded()
        if not joining and (not guarded or guarded == (self,)):
            return ()
        mine = self.lineage
        return tuple(dict.fromkeys(s for s in (*joining, *guarded) if s not in mine))

    def _keep_back_after(self, call: PaidCall) -> None:
        price = call.quote.rates if call.quote is not None else None
        if price is not None and call.usage is not None and not self.finalized:
            self.keep_back(self.estimator.one_more(price, call.usage))

    def _tell_truncated(self, call: PaidCall) -> None:
        told: dict[str, Any] = {
            "name": call.request.model,
            "agent": call.request.agent,
            "provider": call.request.provider,
            "cap": call.cap,
            "output": None if call.usage is None else call.usage.output,
            "final": call.reservation.final is not None,
        }
        self.emit("truncated", **told)
        ask(self.policy.on_truncated, lambda: {"session_id": self.id, **told})

    def _finalized(self) -> None:
        self._log.terminated_by = "finalized"
        self.emit("finalized")
