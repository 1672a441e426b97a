"""Hard spending limits for CrewAI.

>>> from budget_crewai import CrewAIBudgetMiddleware
>>> with CrewAIBudgetMiddleware("$3.00", agents={"Researcher": "$1"}) as budget:
...     ...  # crew.kickoff(), flow.kickoff(), agent.kickoff(): held before, settled after
>>> budget.get_report()["total_spent"]
0.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

_HOME = {"CrewAIBudgetMiddleware": "middleware"}

if TYPE_CHECKING:
    from budget_crewai.middleware import CrewAIBudgetMiddleware

__all__ = ["CrewAIBudgetMiddleware"]


__getattr__, __dir__ = lazy(__name__, _HOME)
