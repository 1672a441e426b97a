"""A budget for agents of Pydantic AI, which is imported when this is first used.

>>> with PydanticAIBudget("$5.00", finalization_reserve=0.05) as budget:
...     result = agent.run_sync("Why is the sea salt?")
>>> budget.report()["total_spent"]
"""

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

if TYPE_CHECKING:
    from budget_pydantic_ai.adapter import PydanticAIBudget

__all__ = ["PydanticAIBudget"]
__getattr__, __dir__ = lazy(__name__, {"PydanticAIBudget": "adapter"})
