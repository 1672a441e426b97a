"""`LangChainBudgetCallback`, where `agentbudget` has it."""

from budget_langchain import LangChainBudgetCallback

__all__ = ["LangChainBudgetCallback"]
