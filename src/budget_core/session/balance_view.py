"""What a session has left, as users read it: dollars as floats, exact nanos beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.money.usd import Money, parse_cost, to_usd

if TYPE_CHECKING:
    from budget_core.ledger import Balance, Ledger
    from budget_core.money.limits import Limits
    from budget_core.session.alerts import Alerts
    from budget_core.session.log import SessionLog
    from budget_core.session.open_calls import OpenCalls
    from budget_core.session.report import Totals
    from budget_core.session.standing import Standing


class BalanceView:
    """Reads a session's standing.

    Attributes:
        ledger: where its account is.
        account: its account in the ledger: the id, behind its parents' where ledgers outlive it.
        standing: how it stands there.
        alerts: its thresholds.
        totals: the running sums behind the report.
    """

    ledger: Ledger
    account: str
    totals: Totals
    standing: Standing
    alerts: Alerts
    _calls: OpenCalls
    _log: SessionLog

    @property
    def limits(self) -> Limits:
        """Its limits as they stand, top-ups included."""
        return self.standing.limits

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
        nanos = self.standing.remaining(self.balance())
        return None if nanos is None else to_usd(nanos)

    @property
    def exhausted(self) -> bool:
        """No ordinary call can be paid for any more, or one was refused for want of money.

        Or an answer was cut, and given up.
        """
        balance = self.balance()
        told = self.alerts.hard_limit_told or self.alerts.cut_off
        over = told or balance.state in ("finalized", "cancelled")
        return over or self.standing.met(balance)

    @property
    def finalized(self) -> bool:
        """The last call was made from the finalization reserve."""
        return self.balance().state == "finalized"

    @property
    def has_last_word(self) -> bool:
        """Something is kept back for a last call, which has not been made and is not under way."""
        balance = self.balance()
        return balance.state == "open" and any(balance.kept_back) and not self.last_word_taken

    @property
    def last_word_taken(self) -> bool:
        """The last call was made, or is being made."""
        return self.finalized or self._calls.finalizing()

    @property
    def terminated_by(self) -> str | None:
        """What ended it: "budget_exhausted", "loop_detected", "anomaly", "cancelled", "finalized".

        None if nothing did.
        """
        return self._log.terminated_by

    def balance(self) -> Balance:
        """Return the account's standing, exact."""
        return self.standing.balance()

    def would_exceed(self, cost: Money) -> bool:
        """Return whether `cost` dollars more would be refused now, of a session that ended any.

        Records nothing.
        """
        return self.standing.would_exceed(parse_cost(cost))
