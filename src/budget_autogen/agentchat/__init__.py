"""Budgets for AgentChat (autogen-agentchat), the newer of the two AutoGens.

================================ ==========================================================
`BudgetedAssistantAgent`         an assistant with a budget
`BudgetedUserProxyAgent`         a user proxy with a budget, which can begin a chat of two
`BudgetedChatCompletionClient`   a model client with a budget, for agents of any kind
`BudgetTermination`              ends a team's run when the money is spent
================================ ==========================================================

For agents and teams that exist already: `budget_autogen.AutoGenBudgetTracker`.
"""

from budget_autogen.agentchat.agents import BudgetedAssistantAgent, BudgetedUserProxyAgent
from budget_autogen.agentchat.client import BudgetedChatCompletionClient
from budget_autogen.agentchat.termination import BudgetTermination

__all__ = [
    "BudgetTermination",
    "BudgetedAssistantAgent",
    "BudgetedChatCompletionClient",
    "BudgetedUserProxyAgent",
]
