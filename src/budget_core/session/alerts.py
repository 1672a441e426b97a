"""Telling, once a crossing, that a limit comes near or is met, and asking whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.events import ask
from budget_core.money.amounts import UNITS, Amounts
from budget_core.money.usd import parse_usd, to_usd
from budget_core.session.policy import TopUp

if TYPE_CHECKING:
    from budget_core.ledger import Denial
    from budget_core.session.log import SessionLog
    from budget_core.session.policy import Policy
    from budget_core.session.standing import Standing


class Alerts:
    """The thresholds of one session. A top-up arms again those that it takes out of reach.

    Attributes:
        hard_limit_told: the limit was met, without a top-up since.
        cut_off: an answer was cut and given up, without a top-up since.
        top_ups: how often the session was topped up.
    """

    def __init__(self, policy: Policy, standing: Standing, log: SessionLog) -> None:
        self._policy = policy
        self._standing = standing
        self._log = log
        self._marks = list(policy.marks())
        self._written = {mark / 100: mark for mark in policy.warning_thresholds}
        # reentrant: a finalizer may run in here, and `on_hard_limit` into the limit
        self._lock = RLock()
        self._asking = RLock()
        self._due = self._next()
        self._enforced = policy.mode == "enforce"
        self.hard_limit_told = self.cut_off = self._asked = self._begun = False
        self.top_ups = 0

    def watch(self, spent: Amounts) -> None:
        if not self._begun:
            self._begun = True
            self.pass_over(self._standing.spent_before)
        if self._enforced:
            for at, amount in self._due:
                if spent[at] >= amount:
                    break
            else:
                return
        with self._lock:
            share = self._share(spent)
            met = not self._enforced and share >= 1 and not self.hard_limit_told
            self.hard_limit_told |= met
            crossed = []
            while self._marks and share >= self._marks[0][0]:
                crossed.append(self._marks.pop(0))
            self._due = self._next()
        for mark, kind in crossed:
            if kind == "soft_limit":
                self._log.emit("soft_limit", share=mark)
                self._log.ask(self._policy.on_soft_limit)
            else:
                self._warn(mark, spent)
        if met:  # no call is refused where a budget only observes
            self._log.emit("hard_limit", unit="usd")
            self._log.ask(self._policy.on_hard_limit)

    def approve(self, denial: Denial, topped_up: Callable[[], bool]) -> bool:
        """Ask `on_hard_limit` once a crossing; True if there is more money now.

        Args:
            denial: what the ledger said.
            topped_up: whether there was a top-up since the refused attempt began.
        """
        with self._lock:
            if topped_up():
                return True
            first = denial.state == "open" and not self.hard_limit_told
            self.hard_limit_told |= first
        if first:
            self._log.emit("hard_limit", unit=denial.unit)
        with self._asking:  # other refused calls wait for the answer
            if topped_up():
                return True
            if self._asked or denial.state != "open":
                return False
            self._asked = True
            answer = self._log.ask(self._policy.on_hard_limit)
            if not isinstance(answer, TopUp):
                return False
            more = Amounts(usd=parse_usd(answer.amount))
            self.raise_limits(more)
        self.tell_top_up(more)
        # dollars for another account, or for another unit, would be refused for ever
        return denial.unit == "usd" and denial.account == self._standing.account and more.usd > 0

    def raise_limits(self, more: Amounts) -> None:
        """Raise the limits: the session goes on, and its thresholds are armed again."""
        self._standing.top_up(more)
        self._log.terminated_by = None
        share = self._share(self._standing.balance().spent)
        with self._lock:
            self.top_ups += 1
            self.hard_limit_told = self.cut_off = self._asked = False
            self._marks = [mark for mark in self._policy.marks() if mark[0] > share]
            self._due = self._next()

    def tell_top_up(self, more: Amounts) -> None:
        usd = self._standing.limits.lifelong("usd")
        self._log.emit(
            "top_up", amount=to_usd(more.usd), budget=None if usd is None else to_usd(usd)
        )

    def pass_over(self, spent: Amounts) -> None:
        """Record what was spent before: those who crossed a threshold then, were told."""
        if not any(spent):
            return
        share = self._share(spent)
        with self._lock:
            self._marks = [mark for mark in self._marks if mark[0] > share]
            self._due = self._next()

    def _next(self) -> list[tuple[int, int]]:
        """Return for each limited unit the amount below which no threshold is reached."""
        if not self._marks:
            return []
        return [
            (UNITS.index(limit.unit), int(limit.amount * self._marks[0][0]))
            for limit in self._standing.limits.every
            if not limit.period
        ]

    def _share(self, spent: Amounts) -> float:
        return max(
            (
                spent[UNITS.index(limit.unit)] / limit.amount if limit.amount else 1.0
                for limit in self._standing.limits.every
                if not limit.period
            ),
            default=0.0,
        )

    def _warn(self, mark: float, spent: Amounts) -> None:
        most = self._standing.limits.lifelong("usd")
        usd, limit = to_usd(spent.usd), None if most is None else to_usd(most)
        warning: dict[str, Any] = {
            "threshold": self._written.get(mark, mark * 100),
            "spent": usd,
            "remaining": None if limit is None else max(0.0, limit - usd),
            "budget": limit,
        }
        self._log.emit("warning", **warning)
        ask(self._policy.on_warning, lambda: warning)
