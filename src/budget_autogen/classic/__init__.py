"""Classic AutoGen (`autogen`: ConversableAgent, GroupChat, initiate_chat) under a budget."""

from budget_autogen.classic import guarded_group  # noqa: F401  which registers itself
from budget_autogen.classic.agents import (
    BudgetedAssistantAgent,
    BudgetedConversableAgent,
    BudgetedUserProxyAgent,
)

__all__ = ["BudgetedAssistantAgent", "BudgetedConversableAgent", "BudgetedUserProxyAgent"]
