import pytest

from budget_core.errors import InvalidBudget
from budget_core.money.amounts import UNITS, ZERO, Amounts, format_amount, readable
from budget_core.money.limits import Limit, Limits

USD = 1_000_000_000


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("$5", Limit("usd", 5 * USD)),
        (5.0, Limit("usd", 5 * USD)),
        (0, Limit("usd", 0)),
        ("$20/day", Limit("usd", 20 * USD, "day")),
        ("$1 / min", Limit("usd", USD, "minute")),
        ("$1/s", Limit("usd", USD, "second")),
        ("$100/Month", Limit("usd", 100 * USD, "month")),
        ("100 calls/hour", Limit("llm_calls", 100, "hour")),
        ("1 call", Limit("llm_calls", 1)),
        ("3 LLM calls", Limit("llm_calls", 3)),
        ("3 llm_calls", Limit("llm_calls", 3)),
        ("7 tool calls/h", Limit("tool_calls", 7, "hour")),
        ("2M tokens/day", Limit("tokens", 2_000_000, "day")),
        ("1.001k tokens", Limit("tokens", 1_001)),
        ("1.5k tokens", Limit("tokens", 1_500)),
        ("1 token", Limit("tokens", 1)),
    ],
)
def test_every_way_to_write_a_limit(written, limit):
    assert Limit.parse(written) == limit
    assert Limit.parse(limit) is limit


@pytest.mark.parametrize(
    "nonsense", ["$5/fortnight", "$5/", "/day", "-3 calls", "tokens", "5 apples", "", None, True]
)
def test_what_is_no_limit_is_refused(nonsense):
    with pytest.raises(InvalidBudget):
        Limit.parse(nonsense)


def test_an_unknown_period_is_refused_with_those_that_are_known():
    with pytest.raises(InvalidBudget, match="day, hour, minute, month, second"):
        Limit.parse("$5/fortnight")


@pytest.mark.parametrize("written", ["$5.00", "$20.00/day", "100 LLM calls/hour", "1 tool call"])
def test_a_limit_prints_as_it_is_written(written):
    assert str(Limit.parse(written)) == written
    assert Limit.parse(str(Limit.parse(written))) == Limit.parse(written)


class TestLimits:
    def test_collects_every_unit(self):
        limits = Limits.of("$5", "$1/min", tokens=9, llm_calls=0, tool_calls=3)
        assert limits.lifelong("usd") == 5 * USD
        assert [limits.lifelong(unit) for unit in UNITS] == [5 * USD, 9, 0, 3]
        assert Limits.of().lifelong("usd") is None
        assert Limits.of("$1/min").lifelong("usd") is None

    @pytest.mark.parametrize("twice", [("$5", 3), ("$1/min", "$2/min")])
    def test_two_of_one_unit_and_period_contradict_each_other(self, twice):
        with pytest.raises(InvalidBudget, match="Keep one"):
            Limits.of(*twice)
        with pytest.raises(InvalidBudget, match="Keep one"):
            Limits.of("5 tokens", tokens=5)

    @pytest.mark.parametrize("unit", ["tokens", "llm_calls", "tool_calls"])
    @pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
    def test_counts_are_whole_and_not_negative(self, unit, count):
        with pytest.raises(InvalidBudget, match=unit):
            Limits.of(**{unit: count})

    def test_raising_touches_lifelong_limits_only(self):
        limits = Limits.of("$5", "$1/min", tokens=9)
        raised = limits.raised(Amounts(usd=USD, tokens=1, llm_calls=4))
        assert raised == Limits.of("$6", "$1/min", tokens=10)
        assert limits.raised(ZERO) == limits


@pytest.mark.parametrize(
    ("unit", "amount", "text"),
    [
        ("usd", 20_000_000, "$0.02"),
        ("tokens", 1_200, "1,200 tokens"),
        ("tokens", 1, "1 token"),
        ("llm_calls", 3, "3 LLM calls"),
        ("tool_calls", 1, "1 tool call"),
    ],
)
def test_amounts_are_written_with_their_unit(unit, amount, text):
    assert format_amount(unit, amount) == text


def test_readable_is_dollars_or_a_count():
    assert readable("usd", 1_500_000_000) == 1.5
    assert readable("tokens", 7) == 7
