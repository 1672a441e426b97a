"""A budget for agents of the OpenAI Agents SDK, which is imported when this is first used.

>>> with OpenAIAgentsBudget("$5.00", finalization_reserve=0.05) as budget:
...     result = Runner.run_sync(agent, "Why is the sea salt?")
>>> budget.report()["total_spent"]
"""

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

if TYPE_CHECKING:
    from budget_openai_agents.adapter import OpenAIAgentsBudget

__all__ = ["OpenAIAgentsBudget"]
__getattr__, __dir__ = lazy(__name__, {"OpenAIAgentsBudget": "adapter"})
