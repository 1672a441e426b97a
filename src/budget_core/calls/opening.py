"""How a call gets its hold: share, wait, clamp, or refuse. One logic for threads and tasks."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from budget_core.calls import context
from budget_core.calls.call import Call
from budget_core.calls.payer import Payer, everyone, groups_of
from budget_core.errors import AgentBudgetError, LedgerUnavailable
from budget_core.ledger.reservation import Refusal, Reservation
from budget_core.money.amounts import UNITS, Amounts
from budget_core.runtime.background import drain
from budget_core.runtime.finalizers import reap
from budget_core.runtime.waiting import (
    DEFAULT_WAIT,
    Pause,
    Shortage,
    Steps,
    default_wait,
    run,
    run_async,
)

if TYPE_CHECKING:
    from budget_core.calls.quote import Quote
    from budget_core.calls.request import CallRequest


class Opening:
    """One call on its way to its hold: at its share, after a wait, or cut to what is free."""

    __slots__ = (
        "_asked", "_output", "_payer", "_payers", "_pending", "_quote", "_request",
        "_reservation", "_risks",
    )  # fmt: skip

    def __init__(
        self,
        payer: Payer,
        request: CallRequest,
        joining: tuple[Payer, ...] = (),
    ) -> None:
        self._payer = payer
        self._asked = self._request = request
        self._payers = (payer, *joining) if joining else (payer,)
        groups = groups_of(self._payers) if joining else payer.groups
        final = payer.final() if context.here().finalizing else None
        self._reservation = Reservation(groups, final)
        self._quote: Quote | None = None
        self._output = 0
        self._risks: tuple[str, ...] = ()
        self._pending: object = None

    @property
    def blocks(self) -> bool:
        return self._reservation.blocks

    def at_once(self) -> Call | None:
        """Return the call if it can be held as it is, None if `steps` has to try harder.

        Raises:
            LoopDetected, UnknownModel, Unbounded, RiskDetected, AnomalyDetected: as they say.
            AgentBudgetError: a plugin refuses it.
        """
        try:
            if self._reservation.blocks:
                drain()
            self._request, self._risks, self._pending = self._payer.admit(self._asked)
            for payer in self._payers[1:]:
                payer.start()
            return self._call() if self._hold() is None else None
        except AgentBudgetError as error:
            raise self._told(error) from None

    def steps(self, wait: float) -> Steps[Call]:
        """Get the call its hold, yielding where it has to wait for at most `wait` seconds.

        Raises:
            BudgetExhausted: it does not fit, and `on_hard_limit` did not help.
        """
        payer, request, until = self._payer, self._request, monotonic() + wait
        try:
            while True:
                before = payer.top_ups()
                refusal = yield from self._until_held(until)
                if refusal is None:
                    return self._call()
                if not payer.approved(refusal, before):
                    raise payer.refused(refusal, request)
        except AgentBudgetError as error:
            raise self._told(error) from None

    def _told(self, error: AgentBudgetError) -> AgentBudgetError:
        self._pending = None
        if isinstance(error, LedgerUnavailable):
            error.seen_by(self._payer.id)
        return error.recast(self._request.mixin)

    def _call(self) -> Call:
        payer, reservation = self._payer, self._reservation
        alone = len(self._payers) == 1
        payers: tuple[Payer, ...] = (payer, *payer.above) if alone else everyone(self._payers)
        call = Call(payer, payers, self._request, reservation, self._quote, self._output)
        call.risks = self._risks
        if self._request is not self._asked:
            call.wired = False  # the caller has not put this cap on the wire as yet
        for each in payers:
            each.opened(call)
        return call

    def _hold(self) -> Refusal | None:
        """Try to hold a tool's price, or an LLM call's share of what is free."""
        if self._request.kind == "tool":
            return self._reservation.reserve(Amounts(usd=self._request.cost, tool_calls=1))
        # calls that ended meanwhile may have taught what this prompt's input really is
        self._quote = quote = self._payer.estimator.quote(self._request)
        self._output = quote.most if quote.capped else quote.share(self._reservation.headroom())
        return self._reservation.reserve(quote.amounts(self._output))

    def _until_held(self, until: float) -> Steps[Refusal | None]:
        while True:
            reap()
            if self.blocks:
                drain()
            refusal = self._hold()
            if refusal is None or refusal.denial.state != "open" or self._quote is None:
                return refusal
            if self._worth_waiting(refusal, self._quote, until):
                yield self._pause(refusal, until - monotonic())
                continue
            if refusal.denial.unit not in {"usd", "tokens"} or not refusal.denial.requested:
                return refusal  # a shorter answer would be refused just the same
            least = self._likely()
            cut = self._quote.squeezed(self._reservation.headroom(), least)
            self._output = self._quote.least(least) if cut is None else cut
            refusal = self._reservation.reserve(self._quote.amounts(self._output))
            if refusal is None:
                return None
            if cut is None:
                # another account is the tight one, or another call has outrun this one
                if not self._worth_waiting(refusal, self._quote, until):
                    return refusal
                yield self._pause(refusal, until - monotonic())
            # else what was free a moment ago is held by somebody else now: look again

    def _pause(self, refusal: Refusal, seconds: float) -> Pause:
        ledger, denial = refusal
        shortage = Shortage(denial.account, denial.unit, denial.period)
        holding = bool(context.held_calls())
        return Pause(
            ledger,
            shortage,
            seconds,
            denial.retry_after,
            denial.requested,
            denial.remaining,
            holding,
        )

    def _likely(self) -> int:
        """Return the tokens that an answer is likely to need; a last word takes what there is."""
        return 0 if self._reservation.final else self._payer.likely(self._request.model)

    def _worth_waiting(self, refusal: Refusal, quote: Quote, until: float) -> bool:
        """Wait only for LLM calls of others if their money could be enough, or a new window."""
        denial = refusal.denial
        if monotonic() >= until:
            return False
        if denial.retry_after is not None and denial.retry_after <= until - monotonic():
            return True
        if denial.unit not in ("usd", "tokens"):
            return False
        least = quote.amounts(quote.least(self._likely()))[UNITS.index(denial.unit)]
        if least > denial.limit - denial.spent:
            return False
        mine = [call.id for call in context.held_calls()]
        return refusal.ledger.llm_holds(denial.account, mine)


def open_now(opening: Opening, wait: float | None = None) -> Call:
    """Open a call in this thread, which waits; not at all by default where it runs a loop."""
    call = opening.at_once()
    if call is None:
        call = run(opening.steps(default_wait() if wait is None else wait))
    context.publish(call)
    return call


async def open_soon(opening: Opening, wait: float | None = None) -> Call:
    """Open a call in this task, which awaits; a ledger that blocks is asked in a thread."""
    wait = DEFAULT_WAIT if wait is None else wait
    call = None if opening.blocks else opening.at_once()
    if call is None:
        steps = _all_steps(opening, wait) if opening.blocks else opening.steps(wait)
        call = await run_async(steps, blocks=opening.blocks, give_back=Call.release)
    context.publish(call)
    return call


def _all_steps(opening: Opening, wait: float) -> Steps[Call]:
    return opening.at_once() or (yield from opening.steps(wait))
