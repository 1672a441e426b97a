import decimal
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core.errors import InvalidBudget, InvalidCost
from budget_core.money.usd import (
    MAX_NANOS,
    NANOS_PER_USD,
    format_usd,
    parse_cost,
    parse_usd,
    to_usd,
)


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("$5.00", 5_000_000_000),
        ("5", 5_000_000_000),
        (5, 5_000_000_000),
        (5.0, 5_000_000_000),
        (Decimal(5), 5_000_000_000),
        (" $ 5 ", 5_000_000_000),
        ("5 USD", 5_000_000_000),
        ("$5.", 5_000_000_000),
        (".5", 500_000_000),
        ("$1,234.50", 1_234_500_000_000),
        ("1,000,000", 1_000_000_000_000_000),
        ("1_000", 1_000_000_000_000),
        ("1e-3", 1_000_000),
        ("$2e1", 20_000_000_000),
        (0.1, 100_000_000),
        (0.1 + 0.2, 300_000_000),
        (1e-9, 1),
        (0, 0),
        ("0", 0),
        (MAX_NANOS // NANOS_PER_USD, MAX_NANOS // NANOS_PER_USD * NANOS_PER_USD),
    ],
)
def test_every_way_to_write_dollars(written, nanos):
    assert parse_usd(written) == nanos


@pytest.mark.parametrize(
    "nonsense",
    [
        -1, "-5", "-$5", -0.01, Decimal(-1), math.nan, math.inf, -math.inf, "nan", "inf",
        Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), True, False, None, "", "  ", "$",
        "five", "5 EUR", "€5", "5$", "1.2.3", "1,5", "1,50", "12,34,567", ",5", "5,", b"5", [5],
        {}, 10**18, -(10**18), "1e300", 1e300,
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_amount_is_refused_with_what_to_write(nonsense):
    with pytest.raises(InvalidBudget, match=r"dollars|largest amount"):
        parse_usd(nonsense)
    with pytest.raises(InvalidCost, match="cost"):
        parse_cost(nonsense)


def test_a_comma_is_never_taken_for_a_point():
    for written in ("1,5", "0,50", "1234,5"):
        with pytest.raises(InvalidBudget):
            parse_usd(written)


def test_a_budget_is_rounded_down_and_a_cost_up():
    assert (parse_usd("0.0000000019"), parse_cost("0.0000000011")) == (1, 2)
    assert (parse_usd(Decimal("1e-30")), parse_cost(Decimal("1e-30"))) == (0, 1)
    assert parse_cost(Decimal("0.0000000010000000000000000000000000000001")) == 2
    assert parse_usd(Decimal("0." + "9" * 40)) == 999_999_999


def test_the_callers_decimal_context_changes_nothing():
    traps = [decimal.Inexact, decimal.Rounded]
    with decimal.localcontext(decimal.Context(prec=3, traps=traps)):
        assert parse_usd("$123.456789") == 123_456_789_000
        assert parse_cost(Decimal("0.0000000011")) == 2


def test_a_float_of_another_make_is_read_as_a_float():
    class Mine(float):
        def __repr__(self):
            return f"Mine({float.__repr__(self)})"

    assert parse_usd(Mine(0.1)) == 100_000_000


@given(st.integers(0, MAX_NANOS // NANOS_PER_USD * NANOS_PER_USD))
def test_what_is_formatted_reads_back_exactly(nanos):
    assert parse_usd(format_usd(nanos)) == nanos


@given(st.integers(0, 10**15))
def test_what_is_reported_reads_back_exactly(nanos):
    assert parse_usd(to_usd(nanos)) == nanos


@given(st.decimals(0, 9_000_000, allow_nan=False, allow_infinity=False))
def test_rounding_is_by_less_than_a_nano(amount):
    exact = amount.as_integer_ratio()
    low, high = parse_usd(amount), parse_cost(amount)
    assert low * exact[1] <= exact[0] * NANOS_PER_USD <= high * exact[1]
    assert high - low in {0, 1}


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (5_000_000_000, "$5.00"),
        (1_250_000, "$0.00125"),
        (1, "$0.000000001"),
        (-20_000_000, "-$0.02"),
        (1_234_567_100_000_000, "$1,234,567.10"),
    ],
)
def test_format_shows_cents_and_no_more_digits_than_needed(nanos, text):
    assert format_usd(nanos) == text
