import math

import pytest

from budget_core.errors import InvalidBudget
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limits
from budget_core.session.policy import Policy, reserve_for

FIVE = Limits.of("$5", tokens=1_000)
USD = 1_000_000_000


@pytest.mark.parametrize(
    "setting",
    [
        {"mode": "enforced"},
        {"unknown_model": "ignore"},
        {"unbounded": "ignore"},
        {"soft_limit": 0},
        {"soft_limit": 1.5},
        {"soft_limit": -0.5},
        {"soft_limit": math.nan},
        {"warning_thresholds": (30, 0)},
        {"warning_thresholds": (101,)},
        {"max_repeated_calls": 1},
        {"max_repeated_calls": 0},
        {"finalization_reserve": 1.0},
        {"finalization_reserve": 2.5},
        {"finalization_reserve": -0.1},
        {"finalization_reserve": math.nan},
        {"finalization_reserve": True},
        {"finalization_reserve": "some"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(setting):
    with pytest.raises(InvalidBudget):
        Policy(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"soft_limit": None},
        {"soft_limit": 1},
        {"warning_thresholds": ()},
        {"warning_thresholds": (100, 0.5)},
        {"max_repeated_calls": None},
        {"max_repeated_calls": 2},
        {"finalization_reserve": "auto"},
        {"finalization_reserve": "$0.10"},
        {"finalization_reserve": 0.05},
        {"finalization_reserve": 1},
    ],
    ids=str,
)
def test_what_makes_sense_is_taken(setting):
    Policy(**setting)


def test_marks_come_in_order_with_the_soft_limit_among_them():
    policy = Policy(warning_thresholds=(95, 30), soft_limit=0.5)
    assert policy.marks() == [(0.3, "warning"), (0.5, "soft_limit"), (0.95, "warning")]
    assert Policy(warning_thresholds=(), soft_limit=None).marks() == []


@pytest.mark.parametrize(
    ("reserve", "limits", "kept"),
    [
        (0, FIVE, ZERO),
        (0.0, FIVE, ZERO),
        (0.1, FIVE, Amounts(USD // 2, 100)),
        ("$0.10", FIVE, Amounts(USD // 10)),
        (1, FIVE, Amounts(USD)),
        ("$9", FIVE, Amounts(5 * USD)),
        ("$1", Limits.of(tokens=10), ZERO),
        ("auto", FIVE, ZERO),
        (0.1, Limits.of("$5", llm_calls=3), Amounts(USD // 2, 0, 1)),
        ("$0.10", Limits.of("$5", llm_calls=3), Amounts(USD // 10, 0, 1)),
        ("auto", Limits.of("$5", llm_calls=3), Amounts(0, 0, 1)),
        ("auto", Limits.of("$5", llm_calls=0), ZERO),
        (0, Limits.of("$5", llm_calls=3), ZERO),
    ],
)
def test_what_is_kept_back(reserve, limits, kept):
    assert reserve_for(reserve, limits) == kept


def test_the_whole_limit_cannot_be_kept_back():
    with pytest.raises(InvalidBudget, match="whole limit"):
        reserve_for(1.0, FIVE)
