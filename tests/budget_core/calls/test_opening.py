"""How a call gets its hold when money is short: share, wait, clamp, refuse."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from budget_core import AgentBudget, BudgetExhausted, SessionCancelled, TopUp, Usage
from budget_core.calls.request import CallRequest
from budget_core.runtime.waiting import Pause, Shortage, _Errand, run_async

pytestmark = pytest.mark.usefixtures("penny")

CENT = 10_000_000


def llm(cap=None, **options):
    return CallRequest(model="penny", input_tokens=0, output_cap=cap, **options)


def elsewhere(action, *args):
    """Do something in a thread of its own, inside nobody's calls."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action, *args).result(60)


class Provider:
    """Bills a thousand tokens an answer, or what the cap allows; the first ones meet."""

    def __init__(self, meet):
        self.meet, self.open, self.bill = meet, 0, 0
        self.lock, self.met = threading.Lock(), threading.Event()

    def arrive(self):
        with self.lock:
            self.open += 1
            if self.open == self.meet:
                self.met.set()

    def answer(self, call):
        written = min(call.cap, 1_000)
        with self.lock:
            self.bill += written * 10_000
        call.settle(Usage(output=written))


@pytest.mark.parametrize(("cap", "meet"), [(1_000, 10), (None, 3)], ids=["capped", "uncapped"])
class TestFiftyForTheMoneyOfTen:
    def checked(self, session, provider, answers):
        assert provider.bill <= 10 * CENT
        assert provider.bill >= 9 * CENT
        assert session.spent_nanos == provider.bill
        assert session.reserved == 0
        assert answers.count(True) >= 10
        assert session.ledger.verify() == []

    def test_threads(self, cap, meet):
        session, provider = AgentBudget("$0.10").session(), Provider(meet)
        start = threading.Barrier(50)

        def work(_):
            start.wait()
            try:
                call = session.open_call(llm(cap))
            except BudgetExhausted:
                return False
            provider.arrive()
            assert provider.met.wait(30)
            provider.answer(call)
            return True

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(work, range(50)))
        self.checked(session, provider, answers)

    @pytest.mark.parametrize("kind", ["watched", "blocking"])
    async def test_tasks(self, cap, meet, kind, request):
        ledger = request.getfixturevalue(kind)
        session = AgentBudget("$0.10", ledger=ledger).session()
        provider, met = Provider(meet), asyncio.Event()

        async def work():
            try:
                call = await session.open_call_async(llm(cap))
            except BudgetExhausted:
                return False
            provider.arrive()
            if provider.met.is_set():
                met.set()
            await met.wait()
            provider.answer(call)
            return True

        answers = await asyncio.gather(*(work() for _ in range(50)))
        self.checked(session, provider, answers)
        assert ledger.began == ledger.ended > 0


class TestWaiting:
    @pytest.fixture
    def session(self, watched):
        return AgentBudget("$0.01", ledger=watched).session()

    def test_a_call_waits_for_anothers_to_end_and_then_goes_on(self, session, watched):
        first = elsewhere(session.open_call, llm(1_000))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(session.open_call, llm(1_000))
            assert watched.waiting.acquire(timeout=30)
            first.settle(Usage(output=0, input=1))
            second = waiting.result(30)
        assert second.output == 1_000
        second.release()
        assert watched.began == watched.ended == 1

    async def test_a_task_waits_without_stopping_the_others(self, session, watched):
        first = elsewhere(session.open_call, llm(1_000))
        waiting = asyncio.create_task(session.open_call_async(llm(1_000)))
        assert await asyncio.to_thread(watched.waiting.acquire, timeout=30)
        first.release()
        (await waiting).release()
        assert watched.ended == 1

    def test_a_call_does_not_wait_for_the_one_inside_which_it_runs(self, session, watched):
        outer = session.open_call(llm(1_000))
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert watched.began == 0
        outer.release()

    def test_a_call_does_not_wait_for_a_tool(self, session, watched):
        tool = elsewhere(session.open_call, CallRequest(kind="tool", name="t", cost=CENT))
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert watched.began == 0
        tool.settle()

    def test_a_tool_waits_for_nobody(self, session, watched):
        other = elsewhere(session.open_call, llm(1_000))
        with pytest.raises(BudgetExhausted):
            session.open_call(CallRequest(kind="tool", name="t", cost=1))
        assert watched.began == 0
        other.release()

    @pytest.mark.parametrize("how", ["argument", "policy"])
    def test_a_wait_of_zero_refuses_at_once(self, session, watched, how):
        other = elsewhere(session.open_call, llm(1_000))
        wait = 0 if how == "argument" else None
        one = session.child_session(wait=0) if how == "policy" else session
        with pytest.raises(BudgetExhausted):
            one.open_call(llm(1_000), wait=wait)
        assert watched.began == 0
        other.release()

    async def test_where_an_event_loop_runs_nothing_blocks(self, session, watched):
        other = elsewhere(session.open_call, llm(1_000))
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert watched.began == 0
        other.release()

    def test_nobody_waits_for_money_that_cannot_be_enough(self, session, watched):
        session.track(cost="0.009")
        other = elsewhere(session.open_call, llm(50))
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert watched.began == 0
        other.release()

    def test_a_wait_that_is_over_ends_in_a_refusal(self, session, watched):
        other = elsewhere(session.open_call, llm(1_000))
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000), wait=0.05)
        assert watched.began == watched.ended == 1
        other.release()

    def test_cancelling_the_session_wakes_those_who_wait(self, session, watched):
        other = elsewhere(session.open_call, llm(1_000))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(session.open_call, llm(1_000))
            assert watched.waiting.acquire(timeout=30)
            session.cancel()
            with pytest.raises(SessionCancelled):
                waiting.result(30)
        other.release()
        assert session.reserved == 0

    def test_a_top_up_wakes_those_who_wait(self, session, watched):
        other = elsewhere(session.open_call, llm(1_000))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(session.open_call, llm(1_000))
            assert watched.waiting.acquire(timeout=30)
            session.top_up("$0.01")
            waiting.result(30).release()
        other.release()

    def test_a_wait_is_for_the_account_that_is_tight(self, watched):
        parent = AgentBudget("$0.01", ledger=watched).session()
        tight, other_child = parent.child_session("$0.01"), parent.child_session()
        other = elsewhere(other_child.open_call, llm(1_000))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(tight.open_call, llm(1_000))
            assert watched.waiting.acquire(timeout=30)
            other.release()
            waiting.result(30).release()


class TestCancelling:
    async def test_a_waiting_task_leaves_no_watcher_and_no_hold(self, watched):
        session = AgentBudget("$0.01", ledger=watched).session()
        other = elsewhere(session.open_call, llm(1_000))
        waiting = asyncio.create_task(session.open_call_async(llm(1_000)))
        assert await asyncio.to_thread(watched.waiting.acquire, timeout=30)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert watched.began == watched.ended == 1
        other.release()
        assert session.reserved == 0
        session.open_call(llm(1_000)).release()

    async def test_a_task_whose_ledger_is_still_answering_leaves_no_hold(self, blocking):
        session = AgentBudget("$0.01", ledger=blocking).session()
        blocking.answer.clear()
        task = asyncio.create_task(session.open_call_async(llm(1_000)))
        assert await asyncio.to_thread(blocking.entered.wait, 30)
        assert session.reserved == 0.01
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        blocking.answer.set()
        assert await asyncio.to_thread(blocking.released.wait, 30)
        assert session.reserved == 0
        assert session.spent == 0

    async def test_a_task_whose_ledger_has_just_answered_leaves_no_hold(self, blocking):
        session = AgentBudget("$0.01", ledger=blocking).session()
        blocking.answer.clear()
        task = asyncio.create_task(session.open_call_async(llm(1_000)))
        assert await asyncio.to_thread(blocking.entered.wait, 30)
        blocking.answer.set()
        while not session._calls.fingerprints():
            pass  # the loop stands still, so the task cannot have heard of it
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(blocking.released.wait, 30)
        assert session.reserved == 0

    async def test_a_refusal_that_comes_too_late_is_heard_by_nobody(self, blocking):
        session = AgentBudget("$0.01", ledger=blocking).session()
        blocking.answer.clear()
        task = asyncio.create_task(session.open_call_async(llm(2_000, fingerprint="f")))
        assert await asyncio.to_thread(blocking.entered.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        blocking.answer.set()
        session.close()
        assert session.reserved == 0

    async def test_a_task_that_waits_on_a_blocking_ledger_leaves_no_watcher(self, blocking):
        session = AgentBudget("$0.01", ledger=blocking).session()
        other = elsewhere(session.open_call, llm(1_000))
        task = asyncio.create_task(session.open_call_async(llm(1_000)))
        assert await asyncio.to_thread(blocking.waiting.acquire, timeout=30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert blocking.began == blocking.ended
        other.release()
        assert session.reserved == 0

    @pytest.mark.parametrize("kind", ["watched", "blocking"])
    async def test_many_at_any_moment(self, kind, request):
        session = AgentBudget("$1", ledger=request.getfixturevalue(kind)).session()

        async def work(n):
            with await session.open_call_async(llm(1_000)) as call:
                await asyncio.sleep(0)
                call.settle(Usage(output=1, input=n % 2))

        tasks = [asyncio.create_task(work(n)) for n in range(60)]
        for turn, task in enumerate(tasks):
            await asyncio.sleep(0)
            if turn % 3 == 0:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()
        session.close()
        assert session.reserved == 0
        assert session.ledger.verify() == []

    def test_a_ledger_that_rings_after_the_loop_was_closed_hurts_nobody(self, watched):
        rings = []
        watch = watched.watch
        watched.watch = lambda callback, account: rings.append(callback) or watch(callback, account)
        session = AgentBudget("$0.01", ledger=watched).session()
        other = elsewhere(session.open_call, llm(1_000))

        async def main():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await session.open_call_async(llm(1_000))

        asyncio.run(main())
        (ring,) = rings
        ring()
        other.release()


class TestClamping:
    def test_with_plenty_of_money_everyone_runs_at_full_width(self):
        session = AgentBudget("$5").session()
        calls = [session.open_call(llm()) for _ in range(10)]
        assert [call.cap for call in calls] == [16_384] * 10

    def test_near_the_limit_each_takes_half_and_never_less_than_is_comfortable(self):
        session = AgentBudget("$0.10").session()
        caps = [session.open_call(llm()).cap for _ in range(4)]
        assert caps == [5_000, 2_500, 2_048, 452]

    def test_the_last_answer_is_cut_to_what_is_left(self):
        session = AgentBudget("$0.005").session()
        with session.open_call(llm(1_000)) as call:
            assert call.cap == 500
            assert session.remaining == 0

    def test_too_little_for_a_useful_answer_is_refused(self):
        session = AgentBudget("$0.00255").session()
        with pytest.raises(BudgetExhausted) as caught:
            session.open_call(llm())
        assert caught.value.remaining == 0.00255

    def test_several_answers_share_the_cap(self):
        session = AgentBudget("$0.03").session()
        call = session.open_call(llm(2_000, n=2))
        assert (call.output, call.cap) == (3_000, 1_500)

    def test_minds_a_limit_of_tokens(self):
        session = AgentBudget(tokens=1_000).session()
        assert session.open_call(llm()).cap == 1_000


class TestRefusingEndsAtOnce:
    """What no shorter answer can cure is refused, not tried for ever."""

    @pytest.mark.parametrize("cap", [None, 1_000])
    def test_when_the_calls_are_used_up(self, cap):
        session = AgentBudget("$5", llm_calls=1).session()
        session.open_call(llm(cap)).settle(Usage(output=1))
        with pytest.raises(BudgetExhausted) as caught:
            session.open_call(llm(cap))
        assert caught.value.unit == "llm_calls"

    def test_when_another_unit_is_over(self):
        session = AgentBudget("$5", tool_calls=1).session()
        session.track()
        with pytest.raises(BudgetExhausted):
            session.track()
        with pytest.raises(BudgetExhausted) as caught:
            session.open_call(llm())
        assert caught.value.unit == "tool_calls"

    def test_when_an_unpriced_model_meets_an_overage(self):
        session = AgentBudget("$1", unknown_model="allow").session()
        with pytest.raises(BudgetExhausted):
            session.track(cost=2)
        with pytest.raises(BudgetExhausted):
            session.open_call(CallRequest(model="nosuch"))

    def test_when_a_callback_approves_what_does_not_help(self):
        asked = []

        def approve(report):
            asked.append(report)
            return TopUp("$1") if len(asked) < 20 else None

        session = AgentBudget("$5", llm_calls=0, on_hard_limit=approve).session()
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert len(asked) == 1

    def test_when_a_callback_approves_nothing_at_all(self):
        asked = []

        def approve(report):
            asked.append(report)
            return TopUp(0) if len(asked) < 20 else None

        session = AgentBudget(0, on_hard_limit=approve).session()
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000))
        assert len(asked) == 1

    def test_when_the_limit_is_a_joining_sessions(self):
        asked = []

        def approve(report):
            asked.append(report)
            return TopUp("$1") if len(asked) < 20 else None

        session = AgentBudget("$5", on_hard_limit=approve).session()
        other = AgentBudget("$0").session()
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1_000), joining=[other])
        assert len(asked) <= 1


class TestJoining:
    def test_a_call_is_held_and_spent_in_every_session(self, watched):
        one, other = (AgentBudget("$1", ledger=ledger).session() for ledger in (watched, None))
        call = one.open_call(llm(1_000), joining=[other])
        assert (one.reserved, other.reserved) == (0.01, 0.01)
        call.settle(Usage(output=500))
        assert (one.spent, other.spent) == (0.005, 0.005)
        assert one.report()["breakdown"]["llm"]["calls"] == 1
        assert other.report()["breakdown"]["llm"]["calls"] == 1

    def test_a_shared_parent_pays_once(self):
        parent = AgentBudget("$1").session()
        one, other = parent.child_session(), parent.child_session()
        one.open_call(llm(1_000), joining=[other, parent]).settle(Usage(output=1_000))
        assert (one.spent, other.spent, parent.spent) == (0.01, 0.01, 0.01)
        assert parent.report()["breakdown"]["llm"]["calls"] == 1

    def test_a_refusal_by_one_holds_nothing_in_the_other(self):
        one, other = AgentBudget("$1").session(), AgentBudget("$0.001").session("tight")
        with pytest.raises(BudgetExhausted) as caught:
            one.open_call(llm(1_000), joining=[other])
        assert caught.value.account == "tight"
        assert (one.reserved, other.reserved) == (0, 0)


async def test_steps_that_are_no_call_are_handed_on():
    def steps():
        yield Pause(AgentBudget("$1").session().ledger, Shortage("a", "usd"), 0.0)
        return "done"

    assert await run_async(steps(), blocks=False) == "done"
    assert await run_async(steps(), blocks=True) == "done"


def test_a_step_that_was_given_up_before_it_began_is_not_taken():
    session = AgentBudget("$1").session()

    def steps():
        return session.open_call(llm())
        yield

    errand = _Errand(steps(), lambda call: call.release())
    errand._abandoned = True
    with pytest.raises(asyncio.CancelledError):
        errand._take()
    assert session.reserved == 0
