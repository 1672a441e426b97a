"""Sessions that come and go, or stand open by the thousand, leave nothing behind."""

import gc
import tracemalloc
from contextlib import contextmanager

import pytest

from budget_core import AgentBudget, MemoryLedger

FEW, MANY = 150, 1_500
SLACK = 64 * 1_024
"""Bytes by which what is kept may differ, as dicts grow by leaps."""


def in_use():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def counted():
    gc.collect()
    tracemalloc.start()
    try:
        yield in_use
    finally:
        tracemalloc.stop()


def work(child):
    child.track(cost=0.000001, tool_name="search")


@pytest.fixture
def parent():
    return AgentBudget("$1000", ledger=MemoryLedger(keep_entries=100)).session()


def one_after_another(parent, number):
    for _ in range(number):
        with parent.child_session("$1") as child:
            work(child)


def left_to_be_collected(parent, number):
    for _ in range(number):
        work(parent.child_session("$1"))


@pytest.mark.parametrize("way", [one_after_another, left_to_be_collected])
def test_ten_times_as_many_take_no_more(parent, way):
    way(parent, FEW)
    with counted() as taken:
        way(parent, FEW)
        few = taken()
        way(parent, MANY)
        assert taken() - few < SLACK
    assert len(parent.ledger.accounts()) == 1 + len(parent.children())
    assert parent.report()["other_children"]["count"] == 2 * FEW + MANY - 100


def test_a_thousand_that_were_open_at_once_are_gone(parent):
    def at_once():
        children = [parent.child_session("$1") for _ in range(1_000)]
        for child in children:
            work(child)
        assert len(parent.children()) >= 1_000
        for child in children:
            child.close()
        del children[:], child
        assert len(parent.report()["children"]) == 100

    at_once()
    with counted() as taken:
        at_once()
        once = taken()
        for _ in range(2):
            at_once()
        assert taken() - once < SLACK
    assert parent.spent_nanos == 4 * 1_000 * 1_000
    assert parent.in_flight == 0
