import gc
import logging
import weakref

import pytest

from budget_core import AgentBudget, CallRequest
from budget_core.runtime import finalizers
from budget_core.runtime.finalizers import collecting, later, reap, when_dropped


class Thing:
    """What can be dropped."""

    def __init__(self):
        self.itself = self


def in_a_collection(action):
    """Do something in a generator that is collected."""

    def generator(itself):
        try:
            yield itself
        finally:
            done.append(action())

    def suspend():
        box = []
        box.append(generator(box))
        next(box[0])

    done = []
    suspend()
    gc.collect()
    return done[0]


def test_what_is_dropped_is_done_with_at_the_next_occasion():
    done, thing = [], Thing()
    when_dropped(thing, lambda: done.append(1))
    reap()
    del thing
    gc.collect()
    assert done == []
    reap()
    reap()
    assert done == [1]


def test_nothing_is_kept_of_what_was_dropped():
    reap()
    before, thing = len(finalizers._actions), Thing()
    when_dropped(thing, list)
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    reap()
    assert alive() is None
    assert len(finalizers._actions) == before


def test_a_collection_is_noticed_by_what_runs_in_it():
    assert in_a_collection(collecting)


def test_by_a_destructor_too():
    class Destroyed(Thing):
        def __del__(self):
            seen.append(collecting())

    seen = []
    Destroyed()
    gc.collect()
    assert seen == [True]


def test_by_a_weak_reference_too():
    seen, thing = [], Thing()
    weakref.finalize(thing, lambda: seen.append(collecting())).atexit = False
    del thing
    gc.collect()
    assert seen == [True]


def test_a_generator_that_is_closed_is_in_no_collection():
    def generator():
        try:
            yield
        finally:
            seen.append(collecting())

    seen, suspended = [], generator()
    next(suspended)
    suspended.close()
    assert seen == [False]
    assert not collecting()


def test_nothing_is_done_in_a_collection():
    done = []
    later(lambda: done.append(collecting()))
    in_a_collection(reap)
    reap()
    assert done == [False]


@pytest.mark.parametrize("end", ["settle", "release"])
def test_a_call_that_is_ended_in_a_collection_ends_at_the_next_occasion(end):
    session = AgentBudget("$1").session()
    call = session.open_call(CallRequest(kind="tool", name="t", cost=10**8))
    assert not in_a_collection(lambda: (getattr(call, end)(), call.ended)[1])
    assert session.spent == (0.1 if end == "settle" else 0)
    assert call.ended


def test_a_session_that_is_closed_in_a_collection_closes_at_the_next_occasion():
    session = AgentBudget("$1").session()
    assert not in_a_collection(lambda: (session.close(), session.closed)[1])
    session.report()
    assert session.closed


def test_what_fails_is_logged_and_the_rest_is_done(caplog):
    done = []
    later(lambda: 1 / 0)
    later(lambda: done.append(1))
    with caplog.at_level(logging.ERROR, "budget_core"):
        reap()
    assert done == [1]
    assert "finalizer" in caplog.text
