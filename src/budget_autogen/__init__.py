"""Hard spending limits for AutoGen: AgentChat, and classic AutoGen.

>>> from budget_autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent
>>> assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")
>>> user = BudgetedUserProxyAgent(name="user", budget="$5.00")
>>> user.initiate_chat(assistant, message="What is 2 + 2?")
>>> assistant.get_report()["total_spent"]

================================ ================================================================
`BudgetedAssistantAgent`         an assistant with a budget, of either AutoGen
`BudgetedUserProxyAgent`         a user proxy with a budget, of either AutoGen
`AutoGenBudgetTracker`           one budget for agents, teams and group chats that exist already
`BudgetedChatCompletionClient`   AgentChat: a model client with a budget
`BudgetTermination`              AgentChat: ends a team's run when the money is spent
`BudgetedConversableAgent`       classic: an agent of the base class, with a budget
================================ ================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

if TYPE_CHECKING:
    from budget_autogen.agentchat import BudgetedChatCompletionClient, BudgetTermination
    from budget_autogen.agents import BudgetedAssistantAgent, BudgetedUserProxyAgent
    from budget_autogen.classic import BudgetedConversableAgent
    from budget_autogen.tracker import AutoGenBudgetTracker

_HOME = {
    "AutoGenBudgetTracker": "tracker",
    "BudgetTermination": "agentchat",
    "BudgetedAssistantAgent": "agents",
    "BudgetedChatCompletionClient": "agentchat",
    "BudgetedConversableAgent": "classic",
    "BudgetedUserProxyAgent": "agents",
}

__all__ = [
    "AutoGenBudgetTracker",
    "BudgetTermination",
    "BudgetedAssistantAgent",
    "BudgetedChatCompletionClient",
    "BudgetedConversableAgent",
    "BudgetedUserProxyAgent",
]


__getattr__, __dir__ = lazy(
    __name__,
    _HOME,
    needs=("autogen", "autogen_agentchat", "autogen_core", "autogen_ext"),
    extra="autogen",
)
