"""Whose money it is: budgets, sessions and their policies."""
