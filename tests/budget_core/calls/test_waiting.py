"""Those who wait for money stand in line: who is woken, when, and how often they ask."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from budget_core import AgentBudget, BudgetExhausted, MemoryLedger, SessionCancelled, Usage
from budget_core.calls import context
from budget_core.calls.opening import Opening
from budget_core.calls.request import CallRequest
from budget_core.runtime import waiting
from budget_core.runtime.waiting import OVERTAKEN

pytestmark = pytest.mark.usefixtures("penny")


def llm(cap=1_000, **options):
    return CallRequest(model="penny", input_tokens=0, output_cap=cap, **options)


class CountingLedger(MemoryLedger):
    """Counts what it is asked; nobody looks at it unasked."""

    poll = 60.0

    def __init__(self, *, blocks=False):
        super().__init__()
        self.blocks = blocks
        self.asked = Counter()

    def reserve(self, *args, **options):
        self.asked["reserve"] += 1
        return super().reserve(*args, **options)


@pytest.fixture
def ledger():
    return CountingLedger()


def budget(ledger, limit="$0.02"):
    return AgentBudget(limit, ledger=ledger).session()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_line_is_left():
    yield
    assert waiting._lines == {}


async def in_turns(ledger, many):
    """Let tasks have a call each, two at a time; return in which order they got it."""
    session, order = budget(ledger), []

    async def work(n):
        call = await session.open_call_async(llm(), wait=60)
        order.append(n)
        await asyncio.sleep(0)
        call.settle(Usage(output=1, input=0))

    await asyncio.gather(*(work(n) for n in range(many)))
    assert session.reserved == 0
    assert ledger.verify() == []
    return order


@pytest.mark.parametrize("many", [50, 200])
async def test_the_ledger_is_asked_a_few_times_for_each_who_waits(ledger, many):
    await in_turns(ledger, many)
    assert ledger.asked["reserve"] <= 6 * many


async def test_who_came_first_is_served_first(ledger):
    assert await in_turns(ledger, 100) == list(range(100))


async def test_a_ledger_that_blocks_is_asked_a_few_times_for_each(tmp_path):
    ledger = CountingLedger(blocks=True)
    await in_turns(ledger, 200)
    assert ledger.asked["reserve"] <= 30 * 200  # 100 times each if every release woke everybody


def test_threads_are_served_two_at_a_time(ledger):
    session = budget(ledger)

    def work(_):
        session.open_call(llm(), wait=60).settle(Usage(output=1, input=0))

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(work, range(200)))
    assert session.reserved == 0
    assert ledger.asked["reserve"] <= 12 * 200


async def test_accounts_apart_are_not_woken_for_each_other(ledger):
    busy = budget(ledger)
    others = [budget(ledger, "$0.01") for _ in range(20)]
    held = [asyncio.create_task(each.open_call_async(llm())) for each in others]
    held = [await each for each in held]
    waiters = [asyncio.create_task(each.open_call_async(llm(), wait=60)) for each in others]
    await settled()
    before = ledger.asked["reserve"]
    for _ in range(50):
        (await asyncio.create_task(busy.open_call_async(llm()))).release()
        await settled()
    assert ledger.asked["reserve"] - before == 50
    for call in held:
        call.release()
    for task in waiters:
        (await task).release()


async def waiter(session, cap, wait=60):
    task = asyncio.create_task(session.open_call_async(llm(cap), wait=wait))
    await settled()
    return task


async def holder(session, cap):
    return await asyncio.create_task(session.open_call_async(llm(cap)))


async def test_who_asks_for_less_is_let_by_if_the_first_does_not_fit(ledger):
    session = budget(ledger)
    large, small = await holder(session, 1_500), await holder(session, 500)
    first, second = await waiter(session, 2_000), await waiter(session, 400)
    small.release()
    call = await asyncio.wait_for(second, 30)
    assert not first.done()
    call.release()
    large.release()
    (await asyncio.wait_for(first, 30)).release()


async def test_who_asks_for_much_is_passed_only_so_often(ledger):
    session = budget(ledger)
    large, small = await holder(session, 1_500), await holder(session, 500)
    first = await waiter(session, 2_000)
    others = [await waiter(session, 500) for _ in range(2 * OVERTAKEN)]
    small.release()
    for other in others[:OVERTAKEN]:
        (await asyncio.wait_for(other, 30)).release()
        await settled()
    await settled()
    assert not any(other.done() for other in others[OVERTAKEN:])
    large.release()
    (await asyncio.wait_for(first, 30)).release()
    for other in others[OVERTAKEN:]:
        (await asyncio.wait_for(other, 30)).release()


async def test_who_holds_money_already_is_let_by_in_any_case(ledger):
    session = budget(ledger)
    large, small = await holder(session, 1_500), await holder(session, 300)
    first = await waiter(session, 2_000)
    inside = asyncio.Event()

    async def outer():
        with await session.open_call_async(llm(200)) as call:
            inside.set()
            (await session.open_call_async(llm(300), wait=60)).release()
            call.settle(Usage(output=1, input=0))

    task = asyncio.create_task(outer())
    await inside.wait()
    await settled()
    often_passed()
    small.release()
    await asyncio.wait_for(task, 30)
    assert not first.done()
    large.release()
    first.cancel()  # what was spent meanwhile is missing
    await settled()


def often_passed():
    for line in waiting._lines.values():
        for _, place in line._asleep:
            place.passed = OVERTAKEN


async def test_who_leaves_lets_the_next_go_on(ledger):
    session = budget(ledger)
    large, small = await holder(session, 1_500), await holder(session, 500)
    first, second = await waiter(session, 2_000), await waiter(session, 500)
    often_passed()
    small.release()
    await settled()
    assert not second.done()
    first.cancel()
    (await asyncio.wait_for(second, 30)).release()
    large.release()


async def test_all_who_wait_hear_that_the_session_was_cancelled(ledger):
    session = budget(ledger)
    large = await holder(session, 2_000)
    tasks = [await waiter(session, 1_000) for _ in range(20)]
    session.cancel()
    for task in tasks:
        with pytest.raises(SessionCancelled):
            await asyncio.wait_for(task, 30)
    large.release()


async def test_a_first_one_whose_thread_stands_still_holds_up_nobody(ledger):
    ledger.poll = 0.02
    session = budget(ledger)
    large = await holder(session, 2_000)
    first = await waiter(session, 1_500)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(session.open_call, llm(1_500), wait=60)
        while sum(line.members for line in waiting._lines.values()) < 2:
            pass
        large.release()  # it rings for the first, whose loop stands still until the second has it
        second.result(30).release()
    (await asyncio.wait_for(first, 30)).release()


async def test_where_a_child_and_its_parent_are_tight_nobody_asks_in_circles(ledger):
    parent = budget(ledger, "$0.05")
    child = parent.child_session("$0.02")
    child.track(cost=0.013)
    parent.track(cost=0.035)  # for the child's answer, 7 are left in the child, and 2 in its parent
    before = ledger.asked["reserve"]
    with pytest.raises(BudgetExhausted):
        await child.open_call_async(llm(), wait=60)
    assert ledger.asked["reserve"] - before <= 4


async def test_who_is_short_in_an_account_and_above_it_waits_for_the_one_above(ledger):
    parent = budget(ledger, "$0.05")
    child = parent.child_session("$0.02")
    child.track(cost=0.013)
    parent.track(cost=0.03)
    other = await holder(parent, 600)
    task = await waiter(child, 1_000)
    asked = ledger.asked["reserve"]
    await settled()
    assert (task.done(), ledger.asked["reserve"]) == (False, asked)
    other.release()
    call = await asyncio.wait_for(task, 30)
    assert call.output == 700
    call.release()


def test_what_runs_apart_does_not_wait_for_the_call_around_it(ledger):
    session = budget(ledger, "$0.01")
    around = session.open_call(llm(cap=1_000))
    steps = context.apart(lambda: next(Opening(session, llm(cap=1_000), ()).steps(60)))
    with pytest.raises(BudgetExhausted):  # it would yield a pause
        steps()
    around.release()
