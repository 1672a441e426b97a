"""Giving a client its budget: every call that it makes is claimed by it, wherever it is made."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from budget_core.budget import AgentBudget
from budget_core.errors import BudgetExhausted
from budget_core.finalizers import later
from budget_core.limits import Limit
from budget_core.money import Money
from budget_core.policy import Report
from budget_core.sdk import Hold
from budget_core.sdk.claims import Binding
from budget_core.session import BudgetSession


def binding(
    budget: Money | Limit | AgentBudget | None,
    session: BudgetSession | None,
    *,
    on_exhausted: Callable[[BudgetExhausted], object] | None,
    on_warning: Callable[[Report], object] | None,
    warning_thresholds: Sequence[float] | None,
) -> Binding:
    """Return the binding of a client that is made with these arguments.

    Raises:
        TypeError: neither or both of `budget` and `session`, or warnings that are already settled.
    """
    if (budget is None) == (session is None):
        raise TypeError(
            "A budgeted client takes either budget= (an amount such as '$5.00', or an AgentBudget) "
            "or session= (the session that pays)."
        )
    warnings = {
        key: value
        for key, value in (("on_warning", on_warning), ("warning_thresholds", warning_thresholds))
        if value is not None
    }
    if session is not None or isinstance(budget, AgentBudget):
        if warnings:
            raise TypeError(
                f"{', '.join(warnings)}: say so where the budget is made, with AgentBudget(...)."
            )
        payer = session or (budget.session() if isinstance(budget, AgentBudget) else None)
    else:
        payer = AgentBudget(budget, **warnings).session()  # type: ignore[arg-type]
    assert payer is not None  # noqa: S101
    return Binding((payer,), on_exhausted)


def joined(before: Binding | None, to: Binding) -> Binding:
    """Return the binding of a client that was bound before: both budgets hold."""
    if before is None:
        return to
    sessions = tuple(dict.fromkeys((*before.sessions, *to.sessions)))
    return Binding(sessions, to.on_exhausted or before.on_exhausted)


def keep_guarded(client: object) -> None:
    """Keep the SDKs guarded for as long as `client` lives."""
    weakref.finalize(client, later, Hold().release).atexit = False
