"""Anthropic clients with a budget."""

from __future__ import annotations

import anthropic

from budget_core.sdk.clients.stainless import CopiedClient


class BudgetedAnthropic(CopiedClient, anthropic.Anthropic):
    """`anthropic.Anthropic` with a budget: see `BudgetedClient` for what it takes beside."""


class AsyncBudgetedAnthropic(CopiedClient, anthropic.AsyncAnthropic):
    """`anthropic.AsyncAnthropic` with a budget: see `BudgetedClient` for what it takes beside."""
