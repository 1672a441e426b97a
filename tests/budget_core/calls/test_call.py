"""One call: claimed, repriced, metered, settled or released, once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from budget_core import AgentBudget, BudgetExhausted, UnknownModel, Usage, hooks, register_model
from budget_core.calls.prompt import Prompt
from budget_core.calls.request import CallRequest
from budget_core.errors import Unbounded
from budget_core.money.prices.rates import Rates
from budget_core.money.usage import Receipt

pytestmark = pytest.mark.usefixtures("penny")


class Bubble(Exception):
    pass


def llm(cap=1_000, **options):
    return CallRequest(model="penny", input_tokens=0, output_cap=cap, **options)


@pytest.fixture
def session():
    return AgentBudget("$1").session("s")


@pytest.fixture
def call(session):
    return session.open_call(llm())


class TestSettling:
    def test_charges_what_it_cost_and_frees_the_rest(self, session, call):
        assert session.reserved == 0.01
        call.settle(Usage(input=5, output=400))
        assert (session.spent, session.reserved, call.cost) == (0.004, 0, 4_000_000)
        assert call.usage == Usage(5, 400)
        assert call.ended

    def test_happens_once(self, session, call):
        call.settle(Usage(output=400))
        call.settle(Usage(output=900))
        call.settle(None)
        call.release()
        assert session.spent == 0.004
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_happens_once_among_many_threads(self, session, call):
        start = threading.Barrier(16)

        def work(n):
            start.wait()
            if n % 2:
                call.settle(Usage(output=100))
            else:
                call.settle(None)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))
        assert session.spent in {0.001, 0.01}
        assert session.reserved == 0
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_more_than_was_held_is_charged_in_full(self, session, call):
        call.settle(Usage(output=200_000))
        assert session.spent == 2.0
        assert session.report()["overage"] == 1.0
        with pytest.raises(BudgetExhausted):
            session.open_call(llm(1))

    @pytest.mark.parametrize("silence", [None, Usage(), Receipt(None), {"id": "x"}, "gibberish"])
    def test_silence_costs_the_whole_hold(self, session, call, silence):
        call.settle(silence)
        assert session.spent == 0.01
        assert call.usage is None

    def test_a_response_is_read_as_it_is(self, session, call):
        call.settle({"model": "penny", "usage": {"prompt_tokens": 3, "completion_tokens": 100}})
        assert session.spent == 0.001

    def test_the_model_that_answered_sets_the_price(self, session):
        register_model("dear", 0, 100)
        call = session.open_call(CallRequest(model="gpt-4o-mini", input_tokens=0, output_cap=10))
        call.settle(Usage(output=100), model="dear")
        assert session.spent == 0.01

    def test_a_registered_price_of_the_model_that_was_asked_wins(self, session, call):
        call.settle({"model": "gpt-4o", "usage": {"prompt_tokens": 3, "completion_tokens": 100}})
        assert session.spent == 0.001

    def test_a_negative_usage_gives_nothing_back(self, session, call):
        session.track(cost="0.5")
        call.settle(Usage(output=-100_000))
        assert session.spent == 0.51

    def test_a_price_that_is_gone_by_then_is_the_one_of_the_hold(self):
        class Plugin:
            @hooks.hookimpl
            def budget_price(self, request):
                return Rates.of(0, 10) if request.model == "passing" else None

        plugin = Plugin()
        hooks.register(plugin)
        session = AgentBudget("$1").session()
        try:
            call = session.open_call(CallRequest(model="passing", output_cap=100))
        finally:
            hooks.unregister(plugin)
        with suppress(UnknownModel):
            call.settle(Usage(output=100))
        assert session.reserved == 0
        assert session.spent == 0.001

    def test_a_tool_costs_its_price(self, session):
        tool = session.open_call(CallRequest(kind="tool", name="t", cost=7))
        assert (tool.cap, tool.kind) == (None, "tool")
        tool.settle(Usage(output=5))
        assert session.spent_nanos == 7

    def test_what_a_prompt_was_billed_for_is_learnt(self, session):
        prompt = Prompt([{"role": "user", "content": "x" * 900}])
        request = CallRequest(model="gpt-4o-mini", prompt=prompt, output_cap=10)
        first = session.open_call(request)
        assert first.quote.input_tokens > 900
        first.settle(Usage(input=123, output=5))
        assert session.open_call(request).quote.input_tokens == 123

    def test_what_was_learnt_helps_the_whole_family(self, session):
        prompt = Prompt([{"role": "user", "content": "x" * 900}])
        request = CallRequest(model="gpt-4o-mini", prompt=prompt, output_cap=10)
        session.child_session().open_call(request).settle(Usage(input=123, output=5))
        assert session.child_session().open_call(request).quote.input_tokens == 123

    def test_the_longest_answer_makes_the_next_ones_comfortable(self, session):
        session.open_call(llm(16_000, prompt=Prompt(["x"]))).settle(Usage(1, 5_000))
        assert session.open_call(llm(None)).quote.comfortable == 10_000

    def test_a_usage_without_input_teaches_nothing(self, session):
        prompt = Prompt([{"role": "user", "content": "x" * 900}])
        request = CallRequest(model="gpt-4o-mini", prompt=prompt, output_cap=10)
        session.open_call(request).settle(Usage(output=5))
        assert session.open_call(request).quote.input_tokens > 900


class TestReleasing:
    def test_charges_nothing(self, session, call):
        call.release()
        assert (session.spent, session.reserved, call.cost) == (0, 0, 0)
        assert session.report()["breakdown"]["llm"]["calls"] == 0

    def test_cannot_undo_a_settlement(self, session, call):
        call.settle(Usage(output=400))
        call.release()
        assert session.spent == 0.004


class TestAsAContextManager:
    def test_left_open_it_settles_as_unknown(self, session):
        with session.open_call(llm()):
            pass
        assert (session.spent, session.reserved) == (0.01, 0)

    def test_left_open_by_an_error_it_settles_as_unknown(self, session):
        with pytest.raises(ZeroDivisionError), session.open_call(llm()):
            raise ZeroDivisionError
        assert session.spent == 0.01

    def test_ended_inside_it_stays_as_it_is(self, session):
        with session.open_call(llm()) as call:
            call.settle(Usage(output=100))
        with session.open_call(llm()) as call:
            call.release()
        assert session.spent == 0.001


class TestMetering:
    def test_with_the_cap_on_the_wire_a_piece_is_a_token_at_least(self, session):
        call = session.open_call(llm(3))
        assert call.wired
        for piece in ("Hello", " there", ", world"):
            call.meter(piece)
        with pytest.raises(BudgetExhausted):
            call.meter("!")
        call.settle(None)
        assert session.spent_nanos == 4 * 10_000

    def test_nothing_is_no_piece(self, session):
        call = session.open_call(llm(1))
        for _ in range(9):
            call.meter("")
            call.meter(0)
        assert call.metered.usd == 0

    def test_tokens_are_counted_as_such(self, session):
        call = session.open_call(llm(10))
        call.meter(10)
        with pytest.raises(BudgetExhausted):
            call.meter(1)

    def test_without_a_cap_on_the_wire_the_hold_grows_with_what_is_seen(self, session):
        call = session.open_call(llm(None))
        held = call.output
        for _ in range(held):
            call.meter("mot ")
        assert call.output == held
        call.meter("mot ")
        assert call.output == 2 * (held + 1)
        assert session.reserved == pytest.approx(2 * (held + 1) * 1e-5)
        call.settle(Usage(0, held + 1))
        assert session.spent == pytest.approx((held + 1) * 1e-5)

    @pytest.mark.parametrize(
        ("piece", "tokens"),
        [("salt", 1), (" internationalization", 2), ("x" * 80, 10), ("\u6d77" * 80, 40)],
    )
    def test_a_long_piece_is_more_than_a_token(self, session, piece, tokens):
        call = session.open_call(llm(None))
        call.meter(call.output - tokens)
        held = call.output
        call.meter(piece)
        assert call.output == held
        call.meter("!")
        assert call.output > held

    def test_an_answer_of_half_the_budget_is_not_stopped(self):
        session = AgentBudget("$0.03").session()
        call = session.open_call(llm(None))
        for _ in range(1_500):
            call.meter("salt ")
        call.settle(Usage(0, 1_500))
        assert session.spent == 0.015

    def test_without_a_cap_on_the_wire_it_stops_when_the_money_is_gone(self):
        session = AgentBudget("$0.03").session()
        call = session.open_call(llm(None))
        call.meter(call.output)
        with pytest.raises(BudgetExhausted, match="outgrew"):
            call.meter("x" * 8_000)
        call.settle(None)
        assert session.spent >= 0.03
        assert session.terminated_by == "budget_exhausted"
        assert "stopped" in [event.kind for event in session.events()]

    def test_the_hold_grows_to_the_last_token_that_can_be_paid_for(self):
        session = AgentBudget("$0.03").session()
        call = session.open_call(llm(None))
        call.meter("x" * 24_000)
        assert (call.output, session.remaining) == (3_000, 0)

    def test_silence_costs_what_was_seen_if_that_is_more(self):
        session = AgentBudget("$0.03").session()
        call = session.open_call(llm(None))
        with pytest.raises(BudgetExhausted):
            call.meter("x" * 25_000)
        call.settle(None)
        assert 0.03 < session.spent < 0.033

    def test_a_tool_is_not_metered(self, session):
        tool = session.open_call(CallRequest(kind="tool", name="t"))
        tool.meter("x" * 10_000)
        assert tool.metered == (0, 0, 0, 0)

    def test_the_error_is_cast_as_the_request_asks(self, session):
        call = session.open_call(llm(1, mixin=Bubble))
        with pytest.raises(Bubble) as caught:
            call.meter(2)
        assert isinstance(caught.value, BudgetExhausted)

    def test_a_cap_that_was_cut_is_not_on_the_wire_until_somebody_puts_it_there(self):
        session = AgentBudget("$0.005").session()
        call = session.open_call(llm(1_000))
        assert call.cap == 500
        assert not call.wired


class TestClaiming:
    def test_the_first_who_asks_gets_it(self, call):
        start = threading.Barrier(16)

        def work(_):
            start.wait()
            return call.claim()

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(work, range(16))) == 1
        assert call.claimed

    def test_nobody_gets_one_that_has_ended(self, call):
        call.settle(None)
        assert not call.claim()
        assert not call.claimed

    def test_nobody_gets_a_tools(self, session):
        assert not session.open_call(CallRequest(kind="tool", name="t")).claim()


class TestRepricing:
    def test_holds_more_for_more(self, session, call):
        call.reprice(llm(2_000))
        assert (call.cap, session.reserved) == (2_000, 0.02)

    def test_holds_less_for_less(self, session, call):
        call.reprice(llm(500))
        assert (call.cap, session.reserved) == (500, 0.005)

    def test_without_a_cap_keeps_to_what_is_held(self, session, call):
        call.reprice(llm(None))
        assert (call.cap, session.reserved) == (1_000, 0.01)

    def test_takes_the_price_of_what_is_really_sent(self, session, call):
        register_model("dear", 0, 100)
        call.reprice(CallRequest(model="dear", input_tokens=0, output_cap=1_000))
        assert session.reserved == 0.1
        call.settle(Usage(output=500))
        assert session.spent == 0.05
        assert session.report()["breakdown"]["llm"]["by_model"] == {"dear": 0.05}

    def test_is_cut_to_what_is_left(self):
        session = AgentBudget("$0.015").session()
        call = session.open_call(llm())
        call.reprice(llm(2_000))
        assert (call.cap, session.remaining) == (1_500, 0)

    def test_is_refused_and_released_where_nothing_useful_is_left(self):
        session = AgentBudget("$0.01").session()
        register_model("dear", 0, 1_000)
        call = session.open_call(llm(1_000, mixin=Bubble))
        with pytest.raises(BudgetExhausted) as caught:
            call.reprice(CallRequest(model="dear", input_tokens=0, output_cap=1_000))
        assert isinstance(caught.value, Bubble)
        assert (session.spent, session.reserved, call.ended) == (0, 0, True)

    @pytest.mark.parametrize(
        ("request_", "error"),
        [
            (CallRequest(model="nosuch"), UnknownModel),
            (CallRequest(model="penny", unbounded="an image by URL"), Unbounded),
        ],
    )
    def test_is_released_where_it_cannot_be_priced(self, session, call, request_, error):
        with pytest.raises(error):
            call.reprice(request_)
        assert (session.spent, session.reserved, call.ended) == (0, 0, True)

    def test_others_may_join(self, session, call):
        other = AgentBudget("$1").session()
        call.reprice(llm(2_000), joining=(other,))
        assert (session.reserved, other.reserved) == (0.02, 0.02)
        call.settle(Usage(output=1_000))
        assert (session.spent, other.spent) == (0.01, 0.01)
        assert other.report()["breakdown"]["llm"]["calls"] == 1

    def test_a_joining_one_that_is_tight_cuts_it(self, session, call):
        other = AgentBudget("$0.005").session()
        call.reprice(llm(1_000), joining=(other,))
        assert call.cap == 500
        assert (session.reserved, other.reserved) == (0.005, 0.005)

    def test_a_joining_one_that_is_empty_refuses_it(self, session, call):
        other = AgentBudget("$0.001").session()
        with pytest.raises(BudgetExhausted) as refused:
            call.reprice(llm(1_000), joining=(other,))
        assert refused.value.account == other.id
        assert (session.reserved, other.reserved) == (0, 0)

    def test_keeps_who_asked(self, session):
        call = session.open_call(llm(agent="writer"))
        call.reprice(llm(agent="sdk"))
        call.settle(Usage(output=100))
        assert session.report()["breakdown"]["agents"]["by_agent"] == {"writer": 0.001}

    def test_a_cancelled_session_stops_a_call_that_is_not_sent_yet(self, session, call):
        session.cancel()
        with pytest.raises(BudgetExhausted):
            call.reprice(llm(500))
        assert (session.spent, session.reserved) == (0, 0)

    def test_both_prompts_are_learnt(self, session):
        ours, theirs = Prompt(["x" * 900]), Prompt(["y" * 900])
        call = session.open_call(CallRequest(model="gpt-4o-mini", prompt=ours, output_cap=1))
        call.reprice(CallRequest(model="gpt-4o-mini", prompt=theirs, output_cap=1))
        call.settle(Usage(input=10, output=1))
        for prompt in (ours, theirs):
            again = session.open_call(CallRequest(model="gpt-4o-mini", prompt=prompt, output_cap=1))
            assert again.quote.input_tokens == 10


class TestOfAFramework:
    def test_finish_settles_what_nobody_took_over(self, session, call):
        call.finish(Usage(output=100))
        assert session.spent == 0.001

    def test_abort_releases_what_nobody_took_over(self, session, call):
        call.abort()
        assert (session.spent, session.reserved) == (0, 0)

    @pytest.mark.parametrize("end", ["finish", "abort"])
    def test_a_guard_that_took_it_over_settles_it(self, session, call, end):
        assert call.claim()
        getattr(call, end)()
        assert session.reserved == 0.01
        call.settle(Usage(output=100))
        assert (session.spent, session.reserved) == (0.001, 0)


def test_a_call_tells_what_it_is(session, call):
    assert repr(call) == f"<Call penny {call.id} open>"
    call.release()
    assert repr(call).endswith("ended>")


async def test_a_cancelled_reprice_leaves_nothing_held(blocking):
    session = AgentBudget("$1", ledger=blocking).session()
    call = await session.open_call_async(llm(100))
    blocking.extending = threading.Event()
    extend = blocking.extend

    def slow(*args):
        blocking.extending.set()
        assert blocking.answer.wait(30)
        return extend(*args)

    blocking.extend = slow
    blocking.answer.clear()
    pricing = asyncio.ensure_future(call.reprice_async(llm(200)))
    await asyncio.to_thread(blocking.extending.wait, 30)
    pricing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pricing
    blocking.answer.set()
    await asyncio.to_thread(blocking.released.wait, 30)
    assert await asyncio.to_thread(lambda: session.reserved) == 0
