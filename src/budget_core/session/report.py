"""Running totals, and the report that is made of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from budget_core.money.amounts import UNITS, readable
from budget_core.money.usd import to_usd

if TYPE_CHECKING:
    from budget_core.session.children import Children
    from budget_core.session.log import SessionLog
    from budget_core.session.standing import Standing


class Totals:
    """What a session's calls came to, kept as they end. Money in nanos.

    Attributes:
        spent: all of it.
        below: what its children spent of that.
    """

    __slots__ = (
        "agents", "below", "llm", "llm_calls", "models", "spent", "tokens", "tool_calls", "tools",
        "truncated", "unpriced",
    )  # fmt: skip

    def __init__(self) -> None:
        self.spent = self.below = 0
        self.llm = 0
        self.llm_calls = 0
        self.models: defaultdict[str, int] = defaultdict(int)
        self.tools: defaultdict[str, int] = defaultdict(int)
        self.tool_calls = 0
        self.agents: defaultdict[str, int] = defaultdict(int)
        self.tokens = [0, 0, 0, 0, 0]
        self.truncated = self.unpriced = 0

    def breakdown(self) -> dict[str, Any]:
        names = ("input", "cache_read", "cache_write", "output", "reasoning")
        return {
            "llm": {
                "total": to_usd(self.llm),
                "calls": self.llm_calls,
                "by_model": _dollars(self.models),
            },
            "tools": {
                "total": to_usd(sum(self.tools.values())),
                "calls": self.tool_calls,
                "by_tool": _dollars(self.tools),
            },
            "agents": {"by_agent": _dollars(self.agents)},
            "tokens": dict(zip(names, self.tokens, strict=True)),
        }


def _dollars(by_name: dict[str, int]) -> dict[str, float]:
    return {name: to_usd(nanos) for name, nanos in list(by_name.items())}


def report(
    standing: Standing, totals: Totals, log: SessionLog, children: Children, *, seconds: float
) -> dict[str, Any]:
    """Return a session's JSON-ready report (see `BudgetSession.report`)."""
    balance = standing.balance()
    limits = standing.limits
    limit, remaining = limits.lifelong("usd"), standing.remaining(balance)
    spent = balance.spent.usd
    windows = [
        {
            "limit": str(window.limit),
            "unit": window.limit.unit,
            "amount": readable(window.limit.unit, window.limit.amount),
            "spent": readable(window.limit.unit, window.spent),
            "reserved": readable(window.limit.unit, window.reserved),
        }
        for window in balance.windows
    ]
    return {
        "session_id": log.session_id,
        "budget": None if limit is None else to_usd(limit),
        "total_spent": to_usd(spent),
        "total_spent_nanos": spent,
        "remaining": None if remaining is None else to_usd(remaining),
        "reserved": to_usd(balance.reserved.usd),
        "overage": to_usd(max(0, spent - limit)) if limit is not None else 0.0,
        "breakdown": totals.breakdown(),
        "unpriced_calls": totals.unpriced,
        "truncated_answers": totals.truncated,
        "limits": {
            unit: {"limit": amount, "spent": balance.spent[at]}
            for at, unit in enumerate(UNITS)
            if unit != "usd" and (amount := limits.lifelong(unit)) is not None
        },
        **({"windows": windows} if windows else {}),
        **children.report(totals.below),
        "duration_seconds": seconds,
        "terminated_by": log.terminated_by,
        "finalized": balance.state == "finalized",
        "events": log.told(),
    }
