"""The same calls of several agents are no loop; those of one agent are, in one run."""

import pytest

from budget_core import AgentBudget, CallRequest, LoopDetected
from budget_core.calls import loops
from budget_core.calls.loops import LoopWatch


def read_file(agent=None, agent_run=None, kind="tool"):
    return CallRequest(
        kind=kind, name="read_file", fingerprint="README.md", agent=agent, agent_run=agent_run
    )


@pytest.fixture
def session():
    return AgentBudget("$1", max_repeated_calls=3).session()


def used(session, *requests):
    for request in requests:
        session.open_call(request).settle()


def test_twelve_agents_that_read_one_file(session):
    used(session, *[read_file(f"reader {at}") for at in range(12)])


def test_twelve_runs_of_one_agent(session):
    used(session, *[read_file("reader", object()) for _ in range(12)])


def test_twelve_tools_that_each_read_it(session):
    for at in range(12):
        with session.open_call(CallRequest(kind="tool", name="ask", fingerprint=at)):
            used(session, read_file("reader"))


def test_an_agent_that_reads_it_again_and_again_among_others(session):
    used(session, *[read_file(f"reader {at % 3}") for at in range(6)])
    with pytest.raises(LoopDetected):
        used(session, read_file("reader 0"))


def test_a_run_that_reads_it_again_and_again(session):
    first, second = object(), object()
    used(session, *[read_file("reader", run) for run in (first, second, first, second)])
    with pytest.raises(LoopDetected):
        used(session, read_file("reader", second))


def test_a_tool_that_reads_it_again_and_again(session):
    with session.open_call(CallRequest(kind="tool", name="ask", fingerprint="a")):
        used(session, read_file(), read_file())
        with pytest.raises(LoopDetected):
            used(session, read_file())


def test_so_many_sequences_are_watched(monkeypatch):
    monkeypatch.setattr(loops, "MAX_SEQUENCES", 3)
    watch = LoopWatch(2, 60)
    for name in "abcd":
        watch.note(read_file(name), ())
    assert [key[1] for key in watch._detectors] == ["b", "c", "d"]
    assert isinstance(watch.note(read_file("b"), ()), LoopDetected)


def test_what_lies_beyond_the_window_is_forgotten(monkeypatch):
    now = 0.0
    monkeypatch.setattr(loops, "monotonic", lambda: now)
    watch = LoopWatch(2, 60)
    watch.note(read_file("a"), ())
    now = 61.0
    watch.note(read_file("b"), ())
    assert [key[1] for key in watch._detectors] == ["b"]
