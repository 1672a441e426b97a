"""What a call came to is told without stopping the event loop."""

import asyncio
import threading

import pytest

from budget_core import AgentBudget, CallRequest
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.runtime import background


def request(cost):
    return CallRequest(kind="tool", name="t", cost=cost)


@pytest.fixture
def ledger(tmp_path):
    ledger = SqliteLedger(tmp_path / "budgets.db")
    yield ledger
    ledger.close_connection()


@pytest.mark.parametrize("end", [lambda call: call.settle(None), lambda call: call.release()])
async def test_a_call_ends_while_its_ledger_is_busy(ledger, end):
    session = AgentBudget("$1", ledger=ledger).session()
    call = await session.open_call_async(request(5))
    with ledger.database.lock:  # whoever asks the ledger now, waits
        end(call)
        await asyncio.sleep(0)
        assert call.ended
    assert session.reserved == 0


async def test_whoever_reads_or_opens_next_finds_it_told(ledger):
    session = AgentBudget("0.000000010", ledger=ledger).session()
    for _ in range(2):
        call = await session.open_call_async(request(5), wait=0)
        call.settle(None)
    assert session.balance().spent.usd == 10
    assert session.would_exceed(0.000000001)


async def test_a_session_ends_in_a_thread(ledger):
    loop_thread, ended = threading.get_ident(), []
    close = ledger.close
    ledger.close = lambda *args: (ended.append(threading.get_ident()), close(*args))
    async with AgentBudget("$1", ledger=ledger).session("a") as session:
        await session.open_call_async(request(5))
    assert loop_thread not in ended
    assert ledger.balance("a").state == "closed"
    assert ledger.balance("a").spent.usd == 5


async def test_thresholds_are_told_from_there(ledger):
    told = []
    budget = AgentBudget("0.000000010", ledger=ledger, on_soft_limit=told.append)
    session = budget.session()
    (await session.open_call_async(request(9))).settle(None)
    assert session.spent_nanos == 9
    assert told[0]["total_spent_nanos"] == 9


async def test_what_goes_wrong_there_is_logged(caplog):
    background.behind(lambda: 1 / 0)
    background.drain()
    assert "ZeroDivisionError" in caplog.text
