"""What a region costs more: worked out by hand from what providers say of it."""

import pytest

from budget_core import AgentBudget, CallRequest, Usage, register_model
from budget_core.money.prices import lookup, registry
from budget_core.money.prices.lookup import rates, settle_rates
from budget_core.money.prices.rates import Rates
from budget_core.money.prices.regions import surcharged

USD = 1_000_000_000


@pytest.fixture(autouse=True)
def _fresh():
    yield
    registry.clear()
    lookup.forget()


@pytest.mark.parametrize(
    ("provider", "region", "model", "dollars"),
    [
        ("openai", "eu", "gpt-5.4", (2.75, 16.5)),
        ("openai", "us", "gpt-5.4-2026-03-05", (2.75, 16.5)),
        ("openai", "eu", "gpt-5.1", (1.25, 10)),  # released before
        ("openai", "eu", "gpt-4o", (2.5, 10)),
        ("openai", None, "gpt-5.4", (2.5, 15)),
        ("anthropic", "us", "claude-opus-4-6", (5.5, 27.5)),
        ("anthropic", "us", "claude-sonnet-4-6", (3.3, 16.5)),
        ("anthropic", "global", "claude-opus-4-6", (5, 25)),
        ("anthropic", "not_available", "claude-opus-4-6", (5, 25)),
        ("anthropic", "us", "claude-sonnet-4-5", (3, 15)),
        ("google", "us-east5", "claude-sonnet-4-5@20250929", (3.3, 16.5)),
        ("google", "eu", "claude-opus-4-6", (5.5, 27.5)),
        ("google", "us-east5", "claude-sonnet-4@20250514", (3, 15)),
        ("google", "europe-west4", "gemini-3.5-flash", (1.65, 9.9)),
        ("google", "europe-west4", "gemini-2.5-flash", (0.3, 2.5)),
        ("groq", "eu", "llama-3.3-70b-versatile", (0.59, 0.79)),
    ],
)
def test_a_region(provider, region, model, dollars):
    found = surcharged(rates(model, provider), provider, region, model)
    assert (found.input, found.output) == tuple(round(price * USD) for price in dollars)


def test_caches_and_steps_cost_more_and_fees_do_not():
    plain = rates("gpt-5.4", "openai")
    found = surcharged(plain, "openai", "eu", "gpt-5.4")
    assert found.cache_read * 10 == plain.cache_read * 11
    assert [step.output * 10 for _, step in found.steps] == [
        step.output * 11 for _, step in plain.steps
    ]
    assert found.fees == plain.fees


def test_a_price_of_one_s_own_is_what_it_says():
    register_model("gpt-5.4", 1, 2)
    assert surcharged(rates("gpt-5.4"), "openai", "eu", "gpt-5.4") == rates("gpt-5.4")
    assert surcharged(own := Rates.of(1, 2), "openai", "eu", "gpt-5.4") is own


class TestBedrock:
    """Its regions stand in its models' names, and its answers name the model without one."""

    @pytest.mark.parametrize("answered", ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5", None])
    @pytest.mark.parametrize(
        ("scope", "dollars"), [("global.", 3), ("us.", 3.3), ("eu.", 3.3), ("", 3.3)]
    )
    def test_what_was_asked_for_is_charged(self, scope, dollars, answered):
        asked = f"{scope}anthropic.claude-sonnet-4-5-20250929-v1:0"
        assert settle_rates(asked, answered).input == round(dollars * USD)
        assert settle_rates(f"bedrock/{asked}", answered, "aws").input == round(dollars * USD)

    def test_another_model_that_answered_has_its_own_price(self):
        found = settle_rates("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-opus-4-6")
        assert found.input == round(5.5 * USD)


USAGE = {"input_tokens": 1_000, "output_tokens": 1_000}


def told(region):
    return {"model": "claude-opus-4-6", "usage": {**USAGE, "inference_geo": region}}


@pytest.mark.parametrize(
    ("region", "nanos"), [("us", 33_000_000), ("global", 30_000_000), ("not_available", 30_000_000)]
)
@pytest.mark.parametrize("way", ["held", "recorded"])
def test_an_answer_tells_where_it_was_made(way, region, nanos):
    with AgentBudget("$5").session() as session:
        if way == "held":
            session.open_call(CallRequest(model="claude-opus-4-6", output_cap=2_000)).settle(
                told(region)
            )
        else:
            session.wrap(told(region))
    assert session.spent_nanos == nanos


def test_the_next_call_is_held_at_the_price_of_where_the_last_one_ran():
    request = CallRequest(model="claude-opus-4-6", output_cap=1_000, input_tokens=0)
    with AgentBudget("$5").session() as session:
        first = session.open_call(request)
        assert first.reservation.amounts.usd == 25_000_000
        first.settle(told("us"))
        second = session.open_call(request)
        assert second.reservation.amounts.usd == 27_500_000
        second.settle(told("global"))
        assert session.open_call(request).reservation.amounts.usd == 25_000_000


def test_a_call_by_a_regional_host_is_held_and_charged_with_it():
    request = CallRequest(
        model="gpt-5.4", provider="openai", region="eu", output_cap=1_000, input_tokens=0
    )
    with AgentBudget("$5").session() as session:
        call = session.open_call(request)
        assert call.reservation.amounts.usd == 16_500_000
        call.settle(Usage(1_000, 1_000))
    assert session.spent_nanos == 2_750_000 + 16_500_000
