"""What a session promises to those who spend its money."""

import asyncio
import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from budget_core import (
    AgentBudget,
    BudgetExhausted,
    InvalidCost,
    LoopDetected,
    Receipt,
    SessionCancelled,
    SessionFinalized,
    TopUp,
    Unbounded,
    UnknownModel,
    Usage,
)
from budget_core.calls.request import CallRequest
from budget_core.ledger import new_id
from budget_core.money.amounts import Amounts
from budget_core.money.usd import parse_cost

pytestmark = pytest.mark.usefixtures("penny")

USD = 1_000_000_000


def llm(cap=1_000, **options):
    return CallRequest(model="penny", input_tokens=0, output_cap=cap, **options)


def tool(cost=0, name="t", **options):
    return CallRequest(kind="tool", name=name, cost=cost, **options)


def kinds(session):
    return [event.kind for event in session.events()]


def exhausted(spend):
    with pytest.raises(BudgetExhausted) as caught:
        spend()
    return caught.value


class TestCounting:
    @pytest.mark.parametrize(("limit", "calls"), [("$0.50", 50), ("$1.00", 100)])
    def test_cents_go_into_dollars_exactly(self, limit, calls):
        session = AgentBudget(limit).session()
        for _ in range(calls):
            session.open_call(tool(10_000_000)).settle()
        assert session.remaining == 0
        with pytest.raises(BudgetExhausted):
            session.open_call(tool(10_000_000))
        assert session.spent == float(limit[1:])

    @pytest.mark.parametrize(("limit", "calls"), [("$0.50", 50), ("$1.00", 100)])
    def test_tracked_cents_too(self, limit, calls):
        session = AgentBudget(limit).session()
        for _ in range(calls):
            session.track(cost=0.01)
        assert session.report()["overage"] == 0
        with pytest.raises(BudgetExhausted):
            session.track(cost=0.01)

    @pytest.mark.no_cover  # it would take ten seconds
    def test_a_hundred_thousand_millionths_are_ten_cents(self):
        session = AgentBudget("$0.10", max_repeated_calls=None).session()
        ledger, accounts = session.ledger, (session.id,)
        one = Amounts(usd=parse_cost(0.000001))
        for _ in range(100_000):
            ledger.charge(new_id(), accounts, one)
        assert session.spent == 0.1
        assert session.spent_nanos == USD // 10
        assert session.remaining == 0

    def test_what_costs_less_than_a_nano_costs_one(self):
        session = AgentBudget("$1").session()
        session.track(cost=1e-12)
        assert session.spent_nanos == 1


class TestPaidAlready:
    """A cost that comes after the fact is recorded, whatever it does to the limit."""

    def test_it_is_recorded_and_then_raised_with_the_result(self):
        session = AgentBudget("$1.00").session("s")
        session.track(cost=0.90)
        error = exhausted(lambda: session.track("found", cost=0.50, tool_name="search"))
        assert error.result == "found"
        assert (session.spent, session.report()["overage"]) == (1.4, 0.4)
        assert (error.limit, error.spent, error.remaining) == (1.0, 1.4, 0.0)
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1))
        assert session.spent == 1.4
        assert session.exhausted

    def test_it_is_told_what_ended_the_session(self):
        session = AgentBudget("$1.00").session()
        exhausted(lambda: session.track(cost=2))
        assert session.terminated_by == "budget_exhausted"

    def test_up_to_the_limit_is_not_too_much(self):
        session = AgentBudget("$1").session()
        assert session.track("found", cost=1) == "found"
        assert session.track() is None
        assert session.exhausted

    @pytest.mark.parametrize("cost", [-0.01, "free", float("nan"), True])
    def test_what_is_no_cost_is_refused(self, cost):
        session = AgentBudget("$1").session()
        with pytest.raises(InvalidCost):
            session.track("found", cost=cost)
        assert session.report()["breakdown"]["tools"]["calls"] == 0

    def test_a_closed_session_still_records(self):
        session = AgentBudget("$1").session()
        session.close()
        with pytest.raises(BudgetExhausted, match="is recorded, although"):
            session.track(cost=0.3)
        assert session.spent == 0.3

    def test_it_is_everybodys_who_guards_this_context(self):
        from budget_core.calls import context

        session, other = AgentBudget("$1").session(), AgentBudget("$1").session()
        context.guard(other)
        try:
            session.track(cost=0.3)
        finally:
            context.unguard(other)
        assert other.spent == 0.3


class TestAsking:
    def test_would_exceed(self):
        session = AgentBudget("$1").session()
        session.track(cost="0.4")
        held = session.open_call(tool(100_000_000))
        assert not session.would_exceed("0.5")
        assert session.would_exceed("0.500000001")
        held.settle()
        assert session.spent == 0.5

    def test_would_exceed_minds_parents_and_reserves(self):
        parent = AgentBudget("$1", finalization_reserve="$0.20").session()
        child = parent.child_session("$5")
        assert child.limit == 0.8
        parent.track(cost="0.5")
        assert child.would_exceed("0.31")
        assert not child.would_exceed("0.30")

    def test_would_exceed_in_a_session_that_has_ended(self):
        session = AgentBudget("$1").session()
        session.cancel()
        assert session.would_exceed("0.01")

    def test_would_exceed_the_last_word(self):
        session = AgentBudget("$1", finalization_reserve=0.5).session()
        assert session.would_exceed("0.6")
        with session.finalize():
            assert not session.would_exceed("0.6")

    def test_it_shows_itself(self):
        session = AgentBudget("$1").session("s")
        assert repr(session) == "<BudgetSession s spent=0.0 limit=1.0>"


class TestChildren:
    @pytest.mark.parametrize("leave", ["exit", "close", "open"])
    def test_three_under_one_dollar_never_spend_more_in_threads(self, leave):
        parent = AgentBudget("$1.00").session()
        start = threading.Barrier(12)
        children = [parent.child_session("$0.90") for _ in range(3)]

        def work(n):
            child = children[n % 3]
            start.wait()
            for _ in range(40):
                try:
                    child.open_call(tool(10_000_000)).settle()
                except BudgetExhausted:
                    return

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(work, range(12)))
        for child in children if leave != "open" else ():
            child.close() if leave == "close" else child.__exit__(None, None, None)
        assert parent.spent == 1.0
        assert sum(child.spent_nanos for child in children) == USD
        assert parent.reserved == 0

    def test_a_child_is_cut_to_what_its_parent_has_left(self):
        parent = AgentBudget("$1").session()
        parent.track(cost="0.7")
        assert parent.child_session("$2").limit == 0.3
        assert parent.child_session().limit is None

    def test_a_child_is_not_cut_by_what_siblings_hold_for_a_moment(self):
        parent = AgentBudget("$1").session()
        held = parent.open_call(tool(USD))
        child = parent.child_session("$0.50")
        held.release()
        assert child.limit == 0.5

    def test_a_named_child_goes_on_where_it_left_off(self):
        parent = AgentBudget("$1").session()
        with parent.child_session("$2", name="worker") as child:
            child.track(cost="0.5")
        with parent.child_session("$2", name="worker") as child:
            assert child.spent == 0.5

    def test_an_allocated_child_is_out_of_its_siblings_reach(self):
        parent = AgentBudget("$1").session()
        child = parent.child_session("$0.60", allocate=True)
        assert parent.remaining == 0.4
        assert parent.would_exceed("0.5")
        child.track(cost="0.2")
        assert (parent.spent, parent.reserved) == (0.2, 0.4)
        child.close()
        assert (parent.spent, parent.reserved) == (0.2, 0)

    def test_an_allocation_that_does_not_fit_is_cut(self):
        parent = AgentBudget("$1").session()
        parent.child_session("$0.60", allocate=True, name="a")
        assert parent.child_session("$0.60", allocate=True, name="b").limit == 0.4

    def test_a_reserve_that_does_not_fit_is_refused(self):
        parent = AgentBudget("$1").session("p")
        parent.track(cost=1)
        with pytest.raises(BudgetExhausted) as caught:
            AgentBudget("$1", parent=parent, finalization_reserve=0.5).session()
        assert caught.value.account == "p"

    def test_a_child_that_is_never_closed_leaks_nothing(self):
        parent = AgentBudget("$1").session()
        child = parent.child_session("$0.60", allocate=True)
        name = child.id
        child.track(cost="0.2")
        del child
        gc.collect()
        assert (parent.spent, parent.reserved) == (0.2, 0)
        assert parent.children() == ()
        with pytest.raises(KeyError):
            parent.ledger.balance(name)
        assert parent.ledger.verify() == []

    def test_a_session_is_collected_without_a_collector(self):
        gc.disable()
        try:
            parent = AgentBudget("$1").session()
            child = parent.child_session("$0.60", allocate=True)
            child.open_call(tool(5)).settle()
            del child
            assert parent.reserved == 0
        finally:
            gc.enable()

    def test_a_childs_calls_are_swept_with_its_parent(self):
        with AgentBudget("$1").session() as parent:
            child = parent.child_session("$0.50")
            call = child.child_session().open_call(llm())
        assert call.ended
        assert (parent.spent, parent.reserved, child.spent) == (0.01, 0, 0.01)


class TestEnding:
    def test_calls_that_were_left_open_are_charged_in_full(self):
        with AgentBudget("$1").session() as session:
            call = session.open_call(llm())
        assert call.ended
        assert (session.spent, session.reserved) == (0.01, 0)
        call.settle(Usage(output=1))
        assert session.spent == 0.01

    def test_a_closed_session_refuses(self):
        with AgentBudget("$1").session("s") as session:
            pass
        error = exhausted(lambda: session.open_call(llm()))
        assert "closed" in str(error)
        session.close()

    def test_it_may_be_entered_again(self):
        session = AgentBudget("$1").session()
        with session:
            session.track(cost="0.4")
        with session:
            session.open_call(llm()).release()
            assert session.remaining == 0.6

    def test_without_with_it_works_as_well(self):
        session = AgentBudget("$1").session()
        session.open_call(llm()).settle(Usage(output=500))
        assert session.spent == 0.005

    def test_its_duration_ends_with_it(self):
        with AgentBudget("$1").session() as session:
            pass
        assert session.duration == session.duration >= 0

    @pytest.mark.parametrize("where", ["self", "parent"])
    def test_cancel_refuses_every_later_call(self, where):
        parent = AgentBudget("$1").session("p")
        child = parent.child_session("$0.50", name="c")
        live = child.open_call(llm())
        (child if where == "self" else parent).cancel()
        with pytest.raises(SessionCancelled) as caught:
            child.open_call(llm())
        assert caught.value.account == ("c" if where == "self" else "p")
        live.settle(Usage(output=500))
        assert parent.spent == 0.005

    def test_cancel_is_for_good(self):
        session = AgentBudget("$1").session()
        session.cancel()
        session.top_up("$5")
        session.close()
        with session, pytest.raises(SessionCancelled):
            session.open_call(llm())
        assert session.balance().state == "cancelled"
        assert "cancelled" in kinds(session)


class TestFinalizing:
    @pytest.mark.parametrize(("reserve", "kept"), [(0.5, 0.5), ("$0.30", 0.3), (0, 0)])
    def test_what_is_kept_back_is_out_of_reach(self, reserve, kept):
        session = AgentBudget("$1", finalization_reserve=reserve).session()
        assert not session.would_exceed(1 - kept)
        assert session.would_exceed(1 - kept + 0.001)
        assert session.remaining == 1

    def test_the_last_word_is_paid_from_it_and_ends_the_session(self):
        session = AgentBudget("$0.02", finalization_reserve=0.5).session()
        session.open_call(llm()).settle(Usage(output=1_000))
        exhausted(lambda: session.open_call(llm()))
        with session.finalize() as same:
            assert same is session
            call = session.open_call(llm())
            assert call.cap == 1_000
            call.settle(Usage(output=1_000))
        assert session.finalized
        assert session.spent == 0.02
        with pytest.raises(SessionFinalized):
            session.open_call(llm(1))
        assert session.report()["finalized"]
        assert "finalized" in kinds(session)

    def test_siblings_cannot_drain_it(self):
        parent = AgentBudget("$1").session()
        child = parent.child_session("$0.50", finalization_reserve="$0.20")
        parent.track(cost="0.8")
        with child.finalize():
            child.open_call(tool(200_000_000)).settle()
        assert (parent.spent, parent.report()["overage"]) == (1.0, 0)

    def test_one_last_call_at_a_time(self):
        session = AgentBudget("$1", finalization_reserve=0.5).session()
        with session.finalize():
            first = session.open_call(llm())
            with pytest.raises(SessionFinalized):
                session.open_call(llm())
            first.release()
            session.open_call(llm()).settle(Usage(output=1))
        assert session.finalized

    def test_a_childs_last_word_may_be_its_parents(self):
        parent = AgentBudget("$1", finalization_reserve=0.5).session()
        child = parent.child_session()
        with parent.finalize():
            child.open_call(tool(900_000_000)).settle()
        assert parent.finalized
        with pytest.raises(SessionFinalized):
            child.open_call(tool())

    def test_outside_the_block_it_is_closed_again(self):
        session = AgentBudget("$1", finalization_reserve=0.5).session()
        with session.finalize():
            pass
        with pytest.raises(BudgetExhausted):
            session.open_call(tool(600_000_000))
        assert not session.finalized

    def test_a_top_up_goes_on_after_the_last_word(self):
        session = AgentBudget("$1", finalization_reserve="$0.50").session()
        with session.finalize():
            session.open_call(tool(USD)).settle()
        session.top_up("$1")
        assert not session.finalized
        assert session.would_exceed("0.6")
        session.open_call(tool(500_000_000)).settle()

    def test_auto_keeps_back_what_one_more_call_would_cost(self):
        session = AgentBudget("$1", finalization_reserve="auto").session()
        assert session.balance().kept_back.usd == 0
        session.open_call(llm()).settle(Usage(input=100, output=1_000))
        assert session.balance().kept_back.usd == 1_024 * 10_000
        with pytest.raises(BudgetExhausted):
            session.open_call(tool(session.ledger.headroom([session.id]).usd + 1))
        with session.finalize():
            session.open_call(llm(1_024)).settle(Usage(output=1_024))
        assert session.finalized

    def test_auto_keeps_what_it_kept_after_a_top_up(self):
        session = AgentBudget("$1", finalization_reserve="auto").session()
        session.open_call(llm()).settle(Usage(input=100, output=1_000))
        session.top_up("$1")
        assert session.balance().kept_back.usd == 1_024 * 10_000


class Heard(list):
    """A callback that keeps what it heard, from any thread."""

    def __call__(self, about):
        self.append(about)


class TestTelling:
    def budget(self, **options):
        soft, hard, warned = Heard(), Heard(), Heard()
        budget = AgentBudget(
            "$1", on_soft_limit=soft, on_hard_limit=hard, on_warning=warned, **options
        )
        return budget.session(), soft, hard, warned

    def test_each_threshold_once_with_its_figures(self):
        session, soft, hard, warned = self.budget()
        for _ in range(100):
            session.track(cost=0.01)
        assert [w["threshold"] for w in warned] == [30, 80, 95]
        assert warned[0] == {"threshold": 30, "spent": 0.3, "remaining": 0.7, "budget": 1.0}
        assert [report["total_spent"] for report in soft] == [0.9]
        assert hard == []
        for _ in range(3):
            exhausted(lambda: session.track(cost=0.01))
        assert len(hard) == 1

    def test_several_crossed_at_once_are_each_told_in_order(self):
        session, soft, _, warned = self.budget()
        session.track(cost=1)
        assert [w["threshold"] for w in warned] == [30, 80, 95]
        assert len(soft) == 1

    def test_each_threshold_once_under_threads(self):
        session, soft, hard, warned = self.budget(max_repeated_calls=None)
        start = threading.Barrier(20)

        def work(_):
            start.wait()
            for _ in range(10):
                with suppress(BudgetExhausted):
                    session.open_call(tool(10_000_000)).settle()

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(work, range(20)))
        assert sorted(w["threshold"] for w in warned) == [30, 80, 95]
        assert (len(soft), len(hard)) == (1, 1)
        assert kinds(session).count("soft_limit") == kinds(session).count("hard_limit") == 1

    def test_any_unit_counts(self):
        soft = Heard()
        session = AgentBudget("$1", llm_calls=10, on_soft_limit=soft).session()
        for _ in range(9):
            session.open_call(llm(1)).settle(Usage(output=1))
        assert len(soft) == 1

    def test_of_a_childs_spend_the_parent_is_told_too(self):
        session, soft, _, warned = self.budget()
        child = session.child_session(on_soft_limit=None, on_warning=None)
        child.track(cost="0.95")
        assert len(soft) == 1
        assert len(warned) == 3

    def test_a_budget_of_nothing_tells_at_the_first_call(self):
        soft = Heard()
        session = AgentBudget(0, on_soft_limit=soft).session()
        session.track()
        assert len(soft) == 1

    def test_a_callback_that_raises_breaks_nothing(self, caplog):
        def fail(_):
            raise RuntimeError("no")

        session = AgentBudget(
            "$1", on_soft_limit=fail, on_hard_limit=fail, on_warning=fail, on_loop_detected=fail,
            max_repeated_calls=2,
        ).session()  # fmt: skip
        session.track(cost=1)
        error = exhausted(lambda: session.track(cost=1))
        assert error.spent == 2.0
        assert session.spent == 2
        assert caplog.text.count("failed") == 5

    def test_a_top_up_arms_what_is_out_of_reach_again(self):
        session, soft, hard, warned = self.budget()
        session.track(cost="0.96")
        exhausted(lambda: session.open_call(tool(USD)))
        session.top_up("$1")
        assert session.terminated_by is None
        assert not session.exhausted
        session.track(cost="0.9")
        exhausted(lambda: session.open_call(tool(USD)))
        assert [w["threshold"] for w in warned] == [30, 80, 95, 80]
        assert (len(soft), len(hard)) == (2, 2)


class TestApproving:
    def test_a_top_up_lets_the_call_go_on(self):
        session = AgentBudget("$1", on_hard_limit=lambda _: TopUp("$2")).session()
        session.open_call(tool(2 * USD)).settle()
        assert (session.spent, session.limit) == (2, 3)
        assert kinds(session)[:2] == ["hard_limit", "top_up"]

    def test_and_the_cost_that_was_paid_already(self):
        session = AgentBudget("$1", on_hard_limit=lambda _: TopUp("$2")).session()
        assert session.track("found", cost=2) == "found"

    def test_many_threads_refused_at_once_ask_once_and_all_go_on(self):
        asked, start = Heard(), threading.Barrier(20)
        gate = threading.Event()

        def approve(report):
            asked(report)
            assert gate.wait(30)
            return TopUp("$1")

        session = AgentBudget(0, on_hard_limit=approve, max_repeated_calls=None).session()

        def work(_):
            start.wait()
            session.open_call(tool(10_000_000)).settle()

        with ThreadPoolExecutor(20) as pool:
            done = [pool.submit(work, n) for n in range(20)]
            gate.set()
            for each in done:
                each.result(60)
        assert len(asked) == 1
        assert (session.spent, session.limit) == (0.2, 1.0)

    def test_a_parents_limit_is_asked_of_the_parent(self):
        parent = AgentBudget("$1", on_hard_limit=lambda _: TopUp("$2")).session()
        child = parent.child_session(on_hard_limit=None)
        child.open_call(tool(2 * USD)).settle()
        assert parent.limit == 3

    def test_no_is_remembered_until_somebody_tops_up(self):
        asked = Heard()
        session = AgentBudget("$1", on_hard_limit=asked).session()
        for _ in range(3):
            exhausted(lambda: session.open_call(tool(2 * USD)))
        assert len(asked) == 1
        session.top_up("$0.50")
        exhausted(lambda: session.open_call(tool(2 * USD)))
        assert len(asked) == 2

    def test_top_up_takes_every_unit_and_every_way_to_write_it(self):
        session = AgentBudget("$1", tokens=1, llm_calls=1, tool_calls=1).session()
        session.top_up(TopUp("$1"), tokens=2, llm_calls=3, tool_calls=4)
        session.top_up(0.5)
        limits = session.balance().limits
        assert [limits.lifelong(u) for u in ("usd", "tokens", "llm_calls", "tool_calls")] == [
            2_500_000_000, 3, 4, 5,
        ]  # fmt: skip
        assert session.limits == limits

    def test_a_callback_may_itself_run_into_the_limit(self):
        def approve(_):
            exhausted(lambda: session.open_call(tool(2 * USD)))
            return TopUp("$2")

        session = AgentBudget("$1", on_hard_limit=approve).session()
        session.open_call(tool(2 * USD)).settle()
        assert session.spent == 2


class TestObserving:
    def test_never_refuses_and_reports(self):
        warned, soft = Heard(), Heard()
        session = AgentBudget(
            "$1", mode="observe", on_warning=warned, on_soft_limit=soft, max_repeated_calls=2,
            llm_calls=1, finalization_reserve=0.5,
        ).session()  # fmt: skip
        for _ in range(3):
            session.open_call(tool(USD, fingerprint="same")).settle()
            session.track(cost=1)
        session.open_call(CallRequest(model="nosuch")).settle(Usage(1, 1))
        session.open_call(llm(unbounded="an image by URL")).settle(Usage(1, 1))
        session.top_up("$1")
        report = session.report()
        assert (report["total_spent"], report["budget"], report["overage"]) == (6.00001, 2, 4.00001)
        assert report["unpriced_calls"] == 1
        assert [w["threshold"] for w in warned] == [30, 80, 95]
        assert len(soft) == 1
        assert "loop_detected" in kinds(session)
        assert report["terminated_by"] is None

    def test_under_an_enforced_parent_the_parent_refuses(self):
        parent = AgentBudget("$1").session("p")
        child = parent.child_session("$0.1", mode="observe")
        child.track(cost="0.9")
        assert exhausted(lambda: child.open_call(tool(USD))).account == "p"


class TestUnknownModels:
    def test_are_refused_before_the_call(self):
        session = AgentBudget("$1").session()
        with pytest.raises(UnknownModel, match="register_model"):
            session.open_call(CallRequest(model="nosuch"))
        assert session.report()["unpriced_calls"] == 0

    def test_run_unpriced_where_that_is_allowed(self):
        session = AgentBudget("$1", unknown_model="allow", tokens=200_000).session()
        call = session.open_call(CallRequest(model="nosuch", input_tokens=7, output_cap=5))
        assert call.reservation.amounts == (0, 12, 1, 0)
        assert not call.priced
        call.settle(Usage(7, 5))
        report = session.report()
        assert (report["unpriced_calls"], report["total_spent"]) == (1, 0)
        assert report["limits"]["tokens"]["spent"] == 12

    @pytest.mark.parametrize("error", [UnknownModel, BudgetExhausted])
    def test_errors_are_cast_as_the_request_asks(self, error):
        class Bubble(Exception):
            pass

        session = AgentBudget(0).session()
        model = "nosuch" if error is UnknownModel else "penny"
        with pytest.raises(Bubble) as caught:
            session.open_call(CallRequest(model=model, output_cap=500, mixin=Bubble))
        assert isinstance(caught.value, error)


class TestUnbounded:
    REQUEST = llm(unbounded="an image by URL")

    def test_is_refused_before_the_call(self):
        session = AgentBudget("$1").session()
        with pytest.raises(Unbounded, match="an image by URL"):
            session.open_call(self.REQUEST)

    def test_runs_where_that_is_allowed(self):
        session = AgentBudget("$1", unbounded="allow").session()
        session.open_call(self.REQUEST).settle(Usage(output=5))
        assert session.spent_nanos == 50_000


class TestTiers:
    def test_a_dearer_tier_is_held_at_its_price(self):
        session = AgentBudget("$1").session()
        call = session.open_call(llm(tier="priority"))
        assert call.reservation.amounts.usd == 20_000_000
        call.release()

    def test_a_cheaper_tier_is_held_at_the_standard_price(self):
        session = AgentBudget("$1").session()
        call = session.open_call(llm(tier="flex"))
        assert call.reservation.amounts.usd == 10_000_000
        call.release()


class TestLoops:
    def budget(self, **options):
        self.heard = Heard()
        return AgentBudget("$5", max_repeated_calls=3, on_loop_detected=self.heard, **options)

    def test_the_same_call_in_sequence_is_refused(self):
        session = self.budget().session()
        for _ in range(2):
            session.open_call(llm(fingerprint="f")).release()
        with pytest.raises(LoopDetected) as caught:
            session.open_call(llm(fingerprint="f"))
        assert (caught.value.key, caught.value.count, caught.value.window) == ("penny", 3, 60.0)
        assert session.reserved == 0
        assert session.terminated_by == "loop_detected"
        assert len(self.heard) == 1
        assert "loop_detected" in kinds(session)

    def test_parallel_samples_are_no_loop(self):
        session = self.budget().session()
        calls = [session.open_call(llm(fingerprint="f")) for _ in range(9)]
        for call in calls:
            call.release()

    async def test_samples_that_wait_for_money_are_no_loop(self):
        session = AgentBudget("$0.01", max_repeated_calls=3).session()
        first = await asyncio.create_task(session.open_call_async(llm(fingerprint="other")))
        asking = {
            asyncio.create_task(session.open_call_async(llm(fingerprint="f"))) for _ in range(6)
        }
        await asyncio.sleep(0)
        first.release()
        while asking:
            done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                (await call).release()

    def test_what_was_refused_is_not_in_flight(self):
        session = self.budget().session()
        kept = []
        for _ in range(2):
            with pytest.raises(BudgetExhausted) as caught:
                session.open_call(tool(9_000_000_000, fingerprint="f"))
            kept.append(caught.value)
        with pytest.raises(LoopDetected):
            session.open_call(tool(fingerprint="f"))

    def test_calls_without_a_fingerprint_are_exempt(self):
        session = self.budget().session()
        for _ in range(9):
            session.open_call(llm()).release()

    def test_tools_and_models_are_looked_at_apart(self):
        session = self.budget().session()
        for _ in range(2):
            session.open_call(llm(fingerprint="f")).release()
            session.open_call(tool(fingerprint="f")).settle()
        with pytest.raises(LoopDetected):
            session.open_call(tool(fingerprint="f"))

    def test_it_can_be_switched_off(self):
        session = AgentBudget("$5", max_repeated_calls=None).session()
        for _ in range(99):
            session.open_call(tool(fingerprint="f")).settle()

    def test_many_threads_do_not_trip_over_each_other(self):
        session = self.budget().session()
        start = threading.Barrier(8)

        def work(n):
            start.wait()
            for turn in range(200):
                session.open_call(tool(fingerprint=(n, turn))).settle()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert session.report()["breakdown"]["tools"]["calls"] == 1_600


async def test_tasks_share_one_session():
    session = AgentBudget("$0.10", wait=0).session()

    async def work():
        call = await session.open_call_async(llm())
        await asyncio.sleep(0)
        call.settle(Usage(output=1_000))

    answers = await asyncio.gather(*(work() for _ in range(50)), return_exceptions=True)
    assert sum(answer is None for answer in answers) == 10
    assert (session.spent, session.reserved) == (0.1, 0)


def test_events_know_whose_they_are():
    session = AgentBudget("$1").session("s")
    session.track(cost="0.01", tool_name="search")
    (event,) = session.events()
    assert event.as_dict() == {
        "type": "call",
        "timestamp": event.at,
        "session_id": "s",
        "kind": "tool",
        "name": "search",
        "cost": 0.01,
        "agent": None,
        "provider": None,
        "model": None,
        "usage": None,
        "priced": True,
        "seconds": event.data["seconds"],
        "risks": [],
        "iteration": None,
    }
    assert event.session is None  # what keeps its events is not kept by them


def test_labels_are_in_every_event_and_calls_are_numbered(penny):
    session = AgentBudget("$1", labels={"project": "crawler"}).session()
    for _ in range(2):
        session.open_call(llm()).settle(Usage(1, 1))
    child = session.child_session("$0.10")
    child.track(cost=0.01)
    session.cancel()
    told = (*session.events(), *child.events())
    assert [event.data["project"] for event in told] == ["crawler"] * 4
    assert [event.data.get("iteration") for event in told] == [1, 2, None, None]


def test_the_event_of_a_call_tells_what_its_answer_said():
    session = AgentBudget("$1").session()
    call = session.open_call(llm(provider="openai"))
    call.settle(Receipt(Usage(input=3, output=5), "penny-2026"))
    (event,) = session.events()
    told = json.loads(json.dumps(event.as_dict()))
    assert (told["provider"], told["name"], told["model"]) == ("openai", "penny", "penny-2026")
    assert (told["usage"]["input"], told["usage"]["output"]) == (3, 5)


def test_a_commit_after_its_hold_was_lost_is_told_as_late():
    session = AgentBudget("$1").session()
    call = session.open_call(llm())
    session.ledger.release(call.id)
    call.settle(Usage(output=500))
    assert session.spent == 0.005
    assert "late" in kinds(session)
