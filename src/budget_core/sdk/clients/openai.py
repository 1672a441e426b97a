"""OpenAI clients with a budget."""

from __future__ import annotations

import openai

from budget_core.sdk.clients.stainless import CopiedClient


class BudgetedOpenAI(CopiedClient, openai.OpenAI):
    """`openai.OpenAI` with a budget: see `BudgetedClient` for what it takes beside.

    >>> client = BudgetedOpenAI(api_key="…", budget="$5.00")
    >>> client.session.remaining
    5.0
    """


class AsyncBudgetedOpenAI(CopiedClient, openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` with a budget: see `BudgetedClient` for what it takes beside."""
