"""`AgentBudget`: an amount of money for a unit of work, and what to do when it runs low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from budget_core import scope
from budget_core.ledger import Ledger, ledger_from
from budget_core.limits import Limit, Limits
from budget_core.money import Money, to_usd
from budget_core.policy import Policy, Report, Reserve, TopUp
from budget_core.session import BudgetSession

_AMBIENT: Final = "ambient"


class AgentBudget:
    """A spending limit, from which sessions are opened.

    >>> budget = AgentBudget("$5.00", soft_limit=0.9)
    >>> with budget.session() as session:
    ...     result = session.track("found it", cost=0.01, tool_name="search")
    >>> session.spent
    0.01

    Args:
        max_spend: dollars a session may spend: "$5.00", "5", 5, 5.0 or Decimal("5"). None leaves
            dollars unlimited.
        soft_limit: the share of the limit at which `on_soft_limit` hears of it; None for never.
        max_repeated_calls: identical calls in sequence, within `loop_window_seconds`, that make a
            loop; None switches loop detection off.
        loop_window_seconds: see there.
        on_soft_limit, on_hard_limit, on_loop_detected: called with the report. `on_hard_limit`
            may return ``TopUp("$2")`` to approve more; it is asked once a crossing.
        on_warning, warning_thresholds: called once at each percentage, with a dict of threshold,
            spent, remaining and budget.
        finalization_reserve: kept back for the last call: a fraction (0.05), an amount ("$0.10"),
            or "auto", what one more call on the present context would cost.
        tokens, llm_calls, tool_calls: further limits of a session.
        mode: "enforce", or "observe" to record and tell but never refuse.
        unknown_model: "refuse" a model without a price, or "allow" it, recorded as unpriced.
        unbounded: "refuse" what has no worst case (media by URL, tools that run at the provider,
            stored conversations), or "allow" it.
        wait: seconds a call may wait for others to end when money is short; by default 30, and 0
            in synchronous code inside an event loop.
        ledger: a `Ledger`, a URL such as "memory://", or None for one in memory.
        parent: the session whose money this is. By default the one entered in this context, if
            any; None for none.
    """

    def __init__(
        self,
        max_spend: Money | Limit | None = None,
        soft_limit: float | None = 0.9,
        max_repeated_calls: int | None = 10,
        loop_window_seconds: float = 60.0,
        on_soft_limit: Callable[[Report], object] | None = None,
        on_hard_limit: Callable[[Report], TopUp | object] | None = None,
        on_loop_detected: Callable[[Report], object] | None = None,
        *,
        finalization_reserve: Reserve = 0,
        on_warning: Callable[[Report], object] | None = None,
        warning_thresholds: Sequence[float] = (30, 80, 95),
        tokens: int | None = None,
        llm_calls: int | None = None,
        tool_calls: int | None = None,
        mode: Literal["enforce", "observe"] = "enforce",
        unknown_model: Literal["refuse", "allow"] = "refuse",
        unbounded: Literal["refuse", "allow"] = "refuse",
        wait: float | None = None,
        ledger: Ledger | str | None = None,
        parent: BudgetSession | Literal["ambient"] | None = "ambient",
    ) -> None:
        self.limits = Limits.of(
            *(() if max_spend is None else (max_spend,)),
            tokens=tokens,
            llm_calls=llm_calls,
            tool_calls=tool_calls,
        )
        self.policy = Policy(
            soft_limit=soft_limit,
            warning_thresholds=tuple(warning_thresholds),
            on_soft_limit=on_soft_limit,
            on_hard_limit=on_hard_limit,
            on_loop_detected=on_loop_detected,
            on_warning=on_warning,
            max_repeated_calls=max_repeated_calls,
            loop_window_seconds=loop_window_seconds,
            finalization_reserve=finalization_reserve,
            mode=mode,
            unknown_model=unknown_model,
            unbounded=unbounded,
            wait=wait,
        )
        self._parent = parent
        self._ledger = None if ledger is None else ledger_from(ledger)
        self._own_ledger: Ledger | None = self._ledger

    @property
    def max_spend(self) -> float | None:
        """The limit of a session in dollars, None if there is none."""
        usd = self.limits.lifelong("usd")
        return None if usd is None else to_usd(usd)

    def session(self, name: str | None = None, **policy: Any) -> BudgetSession:
        """Open a session with this budget.

        Args:
            name: its id; the same name goes on where it left off. Made up if None.
            **policy: settings that differ from the budget's.
        """
        parent = scope.current_session() if self._parent == _AMBIENT else self._parent
        assert not isinstance(parent, str)  # noqa: S101
        settings = replace(self.policy, **policy) if policy else self.policy
        return BudgetSession(
            ledger=self._ledger_under(parent),
            limits=self.limits,
            policy=settings,
            name=name,
            parent=parent,
        )

    async_session = session
    """The same: a session works with ``with`` and with ``async with``."""

    def _ledger_under(self, parent: BudgetSession | None) -> Ledger:
        if self._ledger is None and parent is not None:
            return parent.ledger
        self._own_ledger = self._own_ledger or ledger_from(None)
        return self._own_ledger

    def __repr__(self) -> str:
        return f"AgentBudget({', '.join(map(str, self.limits.every)) or 'unlimited'})"
