"""After its end nothing is spent of a session: what was spent all the same is recorded, and told."""

import pytest

from budget_core import AgentBudget, BudgetExhausted, SessionCancelled, SessionFinalized, declare
from budget_core.ledger import ledger_from


class Response:
    model = "gpt-4o"

    class usage:
        prompt_tokens = 1_000
        completion_tokens = 100


class Chunk:
    model = "gpt-4o"
    usage = None
    choices = ()


COST = 3_500_000


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    if request.param == "memory":
        from budget_core import MemoryLedger

        yield MemoryLedger()
        return
    made = ledger_from(f"sqlite:///{tmp_path}/budgets.db")
    yield made
    made.close_connection()


def cancel(session, _ledger):
    session.cancel()


def cancel_above(_session, ledger):
    ledger.close("team", "cancelled")


def conclude(session, _ledger):
    session.conclude()


def close(session, _ledger):
    session.close()


ENDS = {
    cancel: (SessionCancelled, "cancelled"),
    cancel_above: (SessionCancelled, "cancelled"),
    conclude: (SessionFinalized, "finalized"),
    close: (BudgetExhausted, None),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("limit", ["$5", None])
def test_track_and_wrap_record_and_raise(ledger, end, limit):
    declare("team", "$50", ledger=ledger)
    session = AgentBudget(limit, ledger=ledger, parent="team").session("s")
    assert session.track("before", cost=0.5) == "before"
    end(session, ledger)
    error, why = ENDS[end]
    with pytest.raises(error) as told:
        session.track("result", cost=0.25, tool_name="search")
    assert told.value.result == "result"
    assert "is recorded" in str(told.value)
    response = Response()
    with pytest.raises(error) as told:
        session.wrap(response)
    assert told.value.result is response
    assert session.spent_nanos == 750_000_000 + COST
    report = session.report()
    assert report["terminated_by"] == why
    assert report["breakdown"]["tools"]["by_tool"]["search"] == 0.25
    assert "overage" not in {event["type"] for event in report["events"]}
    assert ledger.verify() == []


@pytest.mark.parametrize("end", [cancel, cancel_above])
async def test_async_ways_as_well(ledger, end):
    declare("team", "$50", ledger=ledger)
    async with AgentBudget("$5", ledger=ledger, parent="team").session("s") as session:
        end(session, ledger)
        with pytest.raises(SessionCancelled):
            await session.wrap_async(Response())
        if not ledger.blocks:
            with pytest.raises(SessionCancelled):
                session.track(cost=0.1)
        with pytest.raises(SessionCancelled):
            async for _ in session.wrap(_chunks()):
                pass


async def _chunks():
    for _ in range(3):
        yield Chunk()
    yield Response()


def test_a_child_of_a_cancelled_session(ledger):
    session = AgentBudget("$5", ledger=ledger).session("s")
    child = session.child_session("$1")
    session.cancel()
    with pytest.raises(SessionCancelled):
        child.track(cost=0.1)
    assert session.spent_nanos == 100_000_000


def test_streams_are_stopped_and_recorded(ledger):
    session = AgentBudget("$5", ledger=ledger).session("s")
    stream = session.wrap(iter([Response(), Response(), Response()]))
    next(stream)
    session.cancel()
    with pytest.raises(SessionCancelled):
        next(stream)
    assert session.spent_nanos == COST


def test_what_was_opened_again_goes_on(ledger):
    session = AgentBudget("$5", ledger=ledger).session("s")
    with session:
        session.track(cost=0.1)
    with pytest.raises(BudgetExhausted):
        session.track(cost=0.1)
    with session:
        session.track(cost=0.1)
    assert session.spent_nanos == 300_000_000


def test_an_observed_session_is_not_stopped(ledger):
    session = AgentBudget("$1", ledger=ledger, mode="observe").session("s")
    session.track(cost=5)
    session.track(cost=5)
    assert session.spent == 10
