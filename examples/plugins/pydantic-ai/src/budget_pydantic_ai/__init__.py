"""A budget for agents of Pydantic AI.

>>> with PydanticAIBudget("$5.00", finalization_reserve=0.05) as budget:
...     result = agent.run_sync("Why is the sea salt?")
>>> budget.report()["total_spent"]
"""

from budget_pydantic_ai.adapter import PydanticAIBudget

__all__ = ["PydanticAIBudget"]
