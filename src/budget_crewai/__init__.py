"""Hard spending limits for CrewAI.

>>> from budget_crewai import CrewAIBudgetMiddleware
>>> with CrewAIBudgetMiddleware("$3.00", agents={"Researcher": "$1"}) as budget:
...     ...  # crew.kickoff(), flow.kickoff(), agent.kickoff(): held before, settled after
>>> budget.get_report()["total_spent"]
0.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budget_crewai.middleware import CrewAIBudgetMiddleware

__all__ = ["CrewAIBudgetMiddleware"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; CrewAI itself is loaded by the first budget."""
    if name not in __all__:
        raise AttributeError(f"module 'budget_crewai' has no attribute {name!r}")
    value = getattr(import_module("budget_crewai.middleware"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
