"""`CrewAIBudgetMiddleware`, where `agentbudget` has it."""

from budget_crewai import CrewAIBudgetMiddleware

__all__ = ["CrewAIBudgetMiddleware"]
