"""A budget for agents of the OpenAI Agents SDK.

>>> with OpenAIAgentsBudget("$5.00", finalization_reserve=0.05) as budget:
...     result = Runner.run_sync(agent, "Why is the sea salt?")
>>> budget.report()["total_spent"]
"""

from budget_openai_agents.adapter import OpenAIAgentsBudget

__all__ = ["OpenAIAgentsBudget"]
