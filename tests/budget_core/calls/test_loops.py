import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core.calls import loops
from budget_core.calls.loops import MAX_PERIOD, LoopDetector


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(loops, "monotonic", clock)
    return clock


def counts(detector, calls):
    return [detector.count(call) for call in calls]


def test_the_same_call_that_often_is_a_loop():
    assert counts(LoopDetector(4, 60), "aaaaa") == [None, None, None, 4, 4]


def test_one_call_in_between_makes_it_none():
    assert counts(LoopDetector(4, 60), "aaabaaab") == [None] * 8


@pytest.mark.parametrize("cycle", ["ab", "abc", "abcd"])
def test_a_short_cycle_is_a_loop(cycle):
    found = counts(LoopDetector(3, 60), cycle * 3)
    assert found == [None] * (len(cycle) * 3 - 1) + [3]


def test_a_longer_cycle_is_none():
    assert set(counts(LoopDetector(3, 60), "abcde" * 5)) == {None}
    assert MAX_PERIOD == 4


def test_a_loop_in_the_middle_of_other_work_is_found():
    assert counts(LoopDetector(3, 60), "xyzababab")[-1] == 3


@given(st.lists(st.integers(), unique=True, max_size=200))
def test_different_calls_are_never_a_loop(calls):
    assert set(counts(LoopDetector(2, 60), calls)) <= {None}


def test_slow_repetition_is_none(clock):
    detector = LoopDetector(3, 60)
    for _ in range(10):
        assert detector.count("a") is None
        clock.now += 31


def test_repetition_that_grows_quick_is_one(clock):
    detector = LoopDetector(3, 60)
    for pause in (100, 100, 1, 1):
        assert detector.count("a") is None
        clock.now += pause
    assert detector.count("a") == 3


def test_parallel_samples_are_not_counted():
    detector = LoopDetector(2, 60)
    assert detector.count("a") is None
    assert detector.count("a", in_flight=["b", "a"]) is None
    assert detector.count("a", in_flight=["b", None]) == 2


def test_arguments_that_cannot_be_compared_are_different_calls():
    class Array:
        __hash__ = None

        def __eq__(self, other):
            raise ValueError("the truth value of an array is ambiguous")

    detector = LoopDetector(2, 60)
    for _ in range(5):
        assert detector.count(("f", [Array()]), in_flight=[("f", [Array()])]) is None


def test_memory_is_bounded():
    detector = LoopDetector(5, 60)
    counts(detector, range(10_000))
    assert len(detector._seen) == MAX_PERIOD * 5
