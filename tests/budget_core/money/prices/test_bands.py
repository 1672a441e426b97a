"""A price that depends on the time of the day: held at the dearest, settled at what it is then."""

from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from genai_prices import data_snapshot
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    TimeOfDateConstraint,
)

from budget_core import AgentBudget, CallRequest, Usage
from budget_core.money.prices import lookup
from budget_core.money.prices.lookup import rates
from budget_core.money.prices.table import Entry, read_rates

REQUEST = CallRequest(model="nightly", output_cap=1_000, input_tokens=1_000)
USAGE = Usage(1_000, 1_000)
CHEAP, DEAR = 1_000 * 1_000 + 1_000 * 2_000, 1_000 * 2_000 + 1_000 * 4_000


@contextmanager
def sold(*, peak):
    """Sell a model whose dear hours are now, or are on the other side of the clock."""
    now = datetime.now(UTC) + timedelta(hours=0 if peak else 12)
    hours = TimeOfDateConstraint(
        (now - timedelta(hours=3)).timetz(), (now + timedelta(hours=3)).timetz()
    )
    prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))),
        ConditionalPrice(
            constraint=hours, prices=ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(4))
        ),
    ]
    model = ModelInfo(id="nightly", match=ClauseEquals(equals="nightly"), prices=prices)
    provider = Provider(id="deepseek", name="D", api_pattern="x", models=[model])
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot([provider], from_auto_update=True))
    lookup.forget()
    try:
        yield
    finally:
        data_snapshot.set_custom_snapshot(None)
        lookup.forget()


@pytest.mark.parametrize(("peak", "cost"), [(True, DEAR), (False, CHEAP)])
def test_it_is_held_at_the_dearest_and_costs_what_it_does_now(peak, cost):
    with sold(peak=peak):
        found = rates("nightly")
        assert found.cost(USAGE) == cost
        assert found.dearest.cost(USAGE) == DEAR
        with AgentBudget("$1").session() as session:
            call = session.open_call(REQUEST)
            assert call.reservation.amounts.usd == DEAR
            call.settle(USAGE)
        assert session.spent_nanos == cost


def test_a_call_that_ends_in_the_dear_hours_is_charged_at_their_price():
    with AgentBudget("$1").session() as session:
        with sold(peak=False):
            call = session.open_call(REQUEST)
        with sold(peak=True):
            call.settle(USAGE)
        assert session.spent_nanos == DEAR


def test_a_call_that_ends_in_the_cheap_hours_is_charged_at_theirs():
    with AgentBudget("$1").session() as session:
        with sold(peak=True):
            call = session.open_call(REQUEST)
        with sold(peak=False):
            call.settle(USAGE)
        assert session.spent_nanos == CHEAP


@pytest.mark.parametrize("model", ["deepseek-flash", "deepseek-v4-pro", "deepseek-chat"])
def test_no_hour_of_the_day_is_dearer(model):
    deepseek = next(provider for provider in providers if provider.id == "deepseek")
    entry = Entry("deepseek", next(one for one in deepseek.models if one.id == model))
    today = datetime.now(UTC).date()
    hours = [
        read_rates(entry, None, datetime.combine(today, time(h, tzinfo=UTC))) for h in range(24)
    ]
    assert len({hour.output for hour in hours}) == 2
    for hour in hours:
        assert hour.dearest.input == max(other.input for other in hours)
        assert hour.dearest.cache_read == max(other.cache_read for other in hours)
        assert hour.dearest.output == max(other.output for other in hours)


def test_most_models_cost_the_same_at_any_time():
    assert rates("gpt-4o").dearest is None
