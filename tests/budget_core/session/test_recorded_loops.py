"""What is recorded again and again with the same arguments is a loop; it is recorded first."""

import asyncio

import pytest

import budget_core
from budget_core import AgentBudget, CallRequest, LoopDetected


class Response:
    model = "gpt-4o"
    usage = {"prompt_tokens": 10, "completion_tokens": 5}


def track(session, arguments):
    return session.track("found", cost=0.01, tool_name="search", arguments=arguments)


def wrap(session, arguments):
    return session.wrap(Response(), arguments=arguments)


def wrap_async(session, arguments):
    return asyncio.run(session.wrap_async(Response(), arguments=arguments))


def dropped_in(session, arguments):
    return budget_core.track("found", cost=0.01, tool_name="search", arguments=arguments)


@pytest.fixture(params=[track, wrap, wrap_async, dropped_in])
def way(request):
    return request.param


@pytest.fixture
def session():
    with budget_core.init("$5", max_repeated_calls=3) as session:
        yield session


def test_the_same_arguments(session, way):
    first = way(session, {"q": ["tides"]})
    before = session.spent_nanos
    way(session, {"q": ["tides"]})
    with pytest.raises(LoopDetected) as caught:
        way(session, {"q": ["tides"]})
    assert session.spent_nanos == 3 * before > 0
    assert type(caught.value.result) is type(first)
    assert caught.value.key in ("search", "gpt-4o")
    assert session.terminated_by == "loop_detected"


def test_other_arguments_or_none(session, way):
    for at in range(9):
        way(session, {"q": [at]})
        way(session, None)


def test_in_twelve_tools(session, way):
    for at in range(12):
        with session.open_call(CallRequest(kind="tool", name="ask", fingerprint=at)):
            way(session, "README.md")


def test_it_can_be_switched_off(way):
    with budget_core.init("$5", max_repeated_calls=None) as session:
        for _ in range(12):
            way(session, "same")


def test_observed_it_is_told(way):
    heard = []
    budget = AgentBudget("$5", max_repeated_calls=3, mode="observe", on_loop_detected=heard.append)
    with budget_core.init(budget) as session:
        for _ in range(3):
            way(session, "same")
    assert len(heard) == 1
