"""The adapter to AutoGen, where `agentbudget` has it."""

from __future__ import annotations

from typing import Any

import budget_autogen
from budget_autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent

__all__ = ["AutoGenBudgetTracker", "BudgetedAssistantAgent", "BudgetedUserProxyAgent"]


class AutoGenBudgetTracker(budget_autogen.AutoGenBudgetTracker):
    """The tracker of this package, which here raises at the limit unless it is told otherwise."""

    def __init__(self, budget: Any = None, **options: Any) -> None:
        super().__init__(budget, **{"on_exhausted": "raise", **options})
