"""Telling, once a crossing, that a limit comes near or is met, and asking whether to go on."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.events import ask
from budget_core.money.amounts import UNITS, Amounts
from budget_core.session.policy import TopUp

if TYPE_CHECKING:
    from budget_core.ledger import Denial
    from budget_core.session.session import BudgetSession


class Alerts:
    """The thresholds of one session. A top-up arms again those that it takes out of reach.

    Attributes:
        hard_limit_told: the limit was met, and nobody has topped up since.
        top_ups: how often the session was topped up.
    """

    def __init__(self, session: BudgetSession) -> None:
        # a session is collected as soon as nobody uses it: no cycle
        self._session: BudgetSession = weakref.proxy(session)
        self._marks = list(session.policy.marks())
        self._written = {mark / 100: mark for mark in session.policy.warning_thresholds}
        # reentrant: a finalizer may run in here, and `on_hard_limit` into the limit
        self._lock = RLock()
        self._asking = RLock()
        self._due = self._next()
        self._enforced = session.policy.mode == "enforce"
        self.hard_limit_told = self._asked = False
        self.top_ups = 0

    def watch(self, spent: Amounts) -> None:
        """Tell of each threshold that `spent` has reached."""
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
                self._session.emit("soft_limit", share=mark)
                ask(self._session.policy.on_soft_limit, self._session.report)
            else:
                self._warn(mark, spent)
        if met:  # nobody is refused where a budget only observes
            self._session.emit("hard_limit", unit="usd")
            ask(self._session.policy.on_hard_limit, self._session.report)

    def approve(self, denial: Denial, topped_up: Callable[[], bool]) -> bool:
        """Ask `on_hard_limit` once a crossing; True if there is more money now.

        Args:
            denial: what the ledger said.
            topped_up: whether somebody topped up since the refused attempt began.
        """
        with self._lock:
            if topped_up():
                return True
            first = denial.state == "open" and not self.hard_limit_told
            self.hard_limit_told |= first
        if first:
            self._session.emit("hard_limit", unit=denial.unit)
        with self._asking:  # whoever else is refused waits for the answer
            if topped_up():
                return True
            if self._asked or denial.state != "open":
                return False
            self._asked = True
            answer = ask(self._session.policy.on_hard_limit, self._session.report)
            if not isinstance(answer, TopUp):
                return False
            more = self._session.raise_limits(answer)
        self._session.tell_top_up(more)
        # dollars for somebody else's account, or for another unit, would be refused for ever
        return denial.unit == "usd" and denial.account == self._session.account and more.usd > 0

    def pass_over(self, spent: Amounts) -> None:
        """Take note of what was spent before: those who crossed a threshold then, were told."""
        share = self._share(spent)
        with self._lock:
            self._marks = [mark for mark in self._marks if mark[0] > share]
            self._due = self._next()

    def rearm(self) -> None:
        """Take note of a top-up."""
        share = self._share(self._session.balance().spent)
        with self._lock:
            self.top_ups += 1
            self.hard_limit_told = self._asked = False
            self._marks = [mark for mark in self._session.policy.marks() if mark[0] > share]
            self._due = self._next()

    def _next(self) -> list[tuple[int, int]]:
        """Return for each limited unit the amount below which no threshold is reached."""
        if not self._marks:
            return []
        return [
            (UNITS.index(limit.unit), int(limit.amount * self._marks[0][0]))
            for limit in self._session.limits.every
            if not limit.period
        ]

    def _share(self, spent: Amounts) -> float:
        return max(
            (
                spent[UNITS.index(limit.unit)] / limit.amount if limit.amount else 1.0
                for limit in self._session.limits.every
                if not limit.period
            ),
            default=0.0,
        )

    def _warn(self, mark: float, spent: Amounts) -> None:
        usd, limit = spent.usd / 1e9, self._session.limit
        warning: dict[str, Any] = {
            "threshold": self._written.get(mark, mark * 100),
            "spent": usd,
            "remaining": None if limit is None else max(0.0, limit - usd),
            "budget": limit,
        }
        self._session.emit("warning", **warning)
        ask(self._session.policy.on_warning, lambda: warning)
