from decimal import Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage, calc_price

from budget_core.testing import prices
from budget_core.testing.prices import Catalogue


def published(model, tier, input_tokens=30_000):
    provider = {"claude": "anthropic", "gemini": "google"}.get(model.split("-")[0], "openai")
    usage = Usage(
        input_tokens=input_tokens,
        cache_read_tokens=10_000,
        cache_write_tokens=10_000 if provider == "anthropic" else 0,
        output_tokens=10_000,
    )
    if "embedding" in model:
        usage = Usage(input_tokens=input_tokens)
    context = {"service_tier": tier}
    return calc_price(usage, model, provider_id=provider, price_context=context).total_price


def charged(rates, model, input_tokens=30_000):
    if "embedding" in model:
        tokens = {"cached_tokens": 0, "cache_write_tokens": 0, "output": 0}
    else:
        writes = 10_000 if model.startswith("claude") else 0
        tokens = {"cached_tokens": 10_000, "cache_write_tokens": writes, "output": 10_000}
    tokens["input_tokens"] = input_tokens
    return Decimal(prices.cost(rates, **tokens)) / 10**9


@pytest.mark.parametrize("model", sorted(prices.STANDARD))
@pytest.mark.parametrize("tier", ["default", "flex", "priority"])
def test_our_list_agrees_with_the_published_prices(model, tier):
    assert charged(Catalogue().rates(model, tier), model) == published(model, tier)


@pytest.mark.parametrize("model", sorted(prices.STANDARD))
@pytest.mark.parametrize("size", [200_000, 200_001])
def test_long_inputs_cost_what_is_published(model, size):
    rates = Catalogue().rates(model, "default", size)
    assert charged(rates, model, size) == published(model, "default", size)


def test_cost_is_exact_and_rounded_up_once():
    third = prices.rates(Fraction(1, 3000), 0)
    cost = {"cached_tokens": 0, "cache_write_tokens": 0, "output": 0}
    assert prices.cost(third, input_tokens=3, **cost) == 1
    assert prices.cost(third, input_tokens=4, **cost) == 2
    assert prices.cost(third, input_tokens=0, **cost) == 0


def test_cached_tokens_cost_what_input_costs_without_a_price_of_their_own():
    assert prices.rates(2, 8) == prices.rates("2", 8.0, Decimal(2), 2)


def test_a_price_cannot_be_negative():
    with pytest.raises(ValueError, match="negative"):
        prices.rates(-1, 0)


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("anthropic.claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("anthropic.claude-none-v1:0", None),
        ("gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("gpt-4o-audio", None),
        ("gpt-4-32k", None),
        ("", None),
    ],
)
def test_only_other_names_of_a_model_are_billed_as_it_is(model, listed):
    assert Catalogue().resolve(model) == listed


def test_what_has_a_fee_is_known_only_where_the_fee_is_charged():
    assert Catalogue().resolve("dall-e-3") is None
    assert Catalogue().resolve("dall-e-3", prices.IMAGES) == "dall-e-3"
    assert Catalogue().resolve("omni-moderation-latest", prices.MODERATIONS) == "omni-moderation"


def test_an_own_price_holds_in_every_tier_and_for_every_input():
    catalogue = Catalogue()
    catalogue.add("gpt-5", prices.rates(1, 2))
    catalogue.add("gemini-2.5-pro", prices.rates(1, 2))
    assert catalogue.rates("gemini-2.5-pro", "default", 300_000) == prices.rates(1, 2)
    assert catalogue.rates("gpt-5", "flex") == prices.rates(1, 2)
    assert not catalogue.has_tier("gpt-5", "flex")
    assert catalogue.has_tier("gpt-5-mini", "flex")
