"""What it costs more that a model runs in one region, by who serves it: facts, with their sources.

Bedrock's regions stand in the names of its models (``eu.anthropic.…``), and so in genai-prices.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from budget_core.money.prices.names import candidates
from budget_core.money.prices.rates import Rates

_EVERYWHERE: Final = frozenset({"global", "not_available"})


class Surcharge(NamedTuple):
    """Percent on every price of tokens, for models that match."""

    percent: int
    models: re.Pattern[str]


_SURCHARGES: Final = {
    # models released since 5 March 2026: developers.openai.com/api/docs/guides/data-residency
    "openai": Surcharge(10, re.compile(r"gpt-(5\.[4-9]|[6-9]|1\d)")),
    # since Opus and Sonnet 4.6: platform.claude.com/docs/en/manage-claude/data-residency
    "anthropic": Surcharge(10, re.compile(r"claude-[a-z]+-(4-[6-9]|[5-9]|\d\d(?!\d))")),
    # https://cloud.google.com/vertex-ai/generative-ai/pricing (Claude since 4.5), and for Gemini
    # https://github.com/BerriAI/litellm/pull/37543, where the answers of 3.5 were billed so
    "google": Surcharge(
        10, re.compile(r"claude-[a-z]+-(4-[5-9]|[5-9]|\d\d(?!\d))|gemini-(3\.[5-9]|[4-9]|\d\d)")
    ),
}


@lru_cache(1_000)
def surcharged(rates: Rates, provider: str | None, region: str | None, model: str) -> Rates:
    """Return a model's public prices as they are where it runs; others are what their giver says.

    Args:
        rates: of the model, wherever it runs.
        provider: who serves it.
        region: where, as the host or the answer tells.
        model: its name.
    """
    found = _SURCHARGES.get(provider or "")
    if found is None or region in _EVERYWHERE or not region or rates.source != "genai-prices":
        return rates
    if not any(found.models.match(form) for form in candidates(model)):
        return rates
    return rates.times(100 + found.percent, 100)
