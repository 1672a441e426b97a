"""Drop-in mode for CrewAI: agents' limits, tools and tasks in sessions of `budget_core.init`."""

from __future__ import annotations

from collections.abc import Callable

from budget_core.frameworks import join
from budget_core.hooks import DropinRequest, hookimpl


@hookimpl
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    return join(
        request, framework="crewai", adapter="budget_crewai.middleware:CrewAIBudgetMiddleware"
    )
