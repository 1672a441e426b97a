"""Anthropic clients with a budget."""

from __future__ import annotations

import anthropic

from budget_core.clients.stainless import BudgetedClient


class BudgetedAnthropic(BudgetedClient, anthropic.Anthropic):
    """`anthropic.Anthropic` with a budget: see `BudgetedClient` for what it takes beside."""


class AsyncBudgetedAnthropic(BudgetedClient, anthropic.AsyncAnthropic):
    """`anthropic.AsyncAnthropic` with a budget: see `BudgetedClient` for what it takes beside."""
