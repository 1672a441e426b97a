"""Drop-in mode, with real SDKs against a provider that bills."""

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context

import anthropic
import openai
import pytest

import budget_core
from budget_core import (
    AccountConflict,
    AgentBudget,
    AgentBudgetError,
    AmbiguousBudget,
    BudgetExhausted,
    BudgetSession,
    CallRequest,
    GuardError,
    InvalidBudget,
    MemoryLedger,
    bind,
    get_session,
    hooks,
    init,
    teardown,
)
from budget_core.calls import context
from budget_core.sdk import dropin, installing
from budget_core.testing import Gate, Reply

QUESTION = [{"role": "user", "content": "Why is the sea salt?"}]


@pytest.fixture(autouse=True)
def _nothing_is_left():
    held = installing._leases
    yield
    left = tuple(dropin._open)
    for session in left:
        teardown(session)
    assert not left, "a test tears its own sessions down"
    assert installing._leases <= held  # those of other tests may be collected meanwhile
    assert context.offered() == context.offered(everywhere=True) == ()
    assert context.guarded() == ()
    assert context.current_session() is None


@pytest.fixture
def square(provider):
    def check(session):
        provider.wait_idle()
        assert provider.bill_nanos == session.spent_nanos > 0
        assert session.reserved == 0
        assert session.ledger.verify() == []

    return check


@pytest.fixture
def gpt(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as made:

        def ask(text="Why is the sea salt?"):
            question = [{"role": "user", "content": text}]
            return made.chat.completions.create(model="gpt-4o-mini", messages=question)

        yield ask


@pytest.fixture
def claude(provider):
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test") as made:
        yield lambda: made.messages.create(
            model="claude-sonnet-4-6", max_tokens=100, messages=QUESTION
        )


@pytest.fixture
def gpt_async(provider):
    async def ask(text="Why is the sea salt?"):
        question = [{"role": "user", "content": text}]
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
            return await client.chat.completions.create(model="gpt-4o-mini", messages=question)

    return ask


@pytest.fixture
def claude_async(provider):
    async def ask():
        async with anthropic.AsyncAnthropic(
            base_url=provider.anthropic_url, api_key="test"
        ) as client:
            return await client.messages.create(
                model="claude-sonnet-4-6", max_tokens=100, messages=QUESTION
            )

    return ask


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as made:
        yield made


def in_a_thread(function):
    """Run a function in a plain thread; return what it returns or raises."""
    came = []

    def run():
        try:
            came.append(function())
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    (result,) = came
    return result


class TestCalls:
    @pytest.mark.parametrize("name", ["gpt", "claude"])
    def test_a_call_is_paid_for(self, request, name, square):
        ask = request.getfixturevalue(name)  # a client that is older than the budget
        with init("$1") as session:
            ask()
            assert budget_core.spent() == session.spent
            square(session)

    @pytest.mark.parametrize("name", ["gpt_async", "claude_async"])
    async def test_tasks_inherit_it(self, request, name, square):
        ask = request.getfixturevalue(name)
        session = init("$1")
        await asyncio.gather(ask(), ask(), asyncio.create_task(ask()))
        square(session)
        teardown()

    def test_what_it_cannot_pay_for_is_never_sent(self, gpt, claude, provider):
        with init("$0.000001") as session:
            for ask in (gpt, claude):
                with pytest.raises(BudgetExhausted):
                    ask()
        assert provider.requests == 0
        assert session.spent == 0

    def test_after_teardown_nothing_is_counted(self, gpt, provider):
        with init("$0.000001") as session:
            pass
        gpt()
        assert provider.requests == 1
        assert session.spent == 0

    def test_a_stream_is_settled(self, provider, square):
        with (
            init("$1") as session,
            openai.OpenAI(base_url=provider.openai_url, api_key="test") as client,
        ):
            list(
                client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True)
            )
            square(session)

    def test_the_options_are_those_of_a_budget(self):
        told = []
        with init(1, name="mine", llm_calls=3, soft_limit=0.5, on_soft_limit=told.append) as mine:
            mine.track(cost=0.6)
        assert (mine.id, mine.limits.lifelong("llm_calls"), len(told)) == ("mine", 3, 1)

    def test_an_agent_budget_is_taken_too(self):
        budget = AgentBudget("$2", max_repeated_calls=None)
        with init(budget, soft_limit=0.5) as session:
            assert session.limit == 2
            assert (session.policy.max_repeated_calls, session.policy.soft_limit) == (None, 0.5)

    def test_by_default_it_is_five_dollars(self):
        with init() as session:
            assert session.limit == 5
            assert isinstance(session, BudgetSession)


class TestThreads:
    def test_a_plain_thread_is_paid_for_by_the_one_budget(self, gpt, square):
        with init("$1") as session:
            in_a_thread(gpt)
            square(session)

    def test_so_is_a_pool(self, gpt, pool, square, provider):
        with init("$1") as session:
            assert len(list(pool.map(lambda _: gpt(), range(4)))) == 4
            square(session)
        assert provider.requests == 4

    async def test_so_is_an_executor(self, gpt, square):
        with init("$1") as session:
            await asyncio.get_running_loop().run_in_executor(None, gpt)
            square(session)

    def test_the_innermost_of_one_chain_pays(self, gpt, square):
        with init("$1") as outer, init("$0.50") as inner:
            in_a_thread(gpt)
            square(inner)
            square(outer)

    def test_several_that_know_nothing_of_each_other_are_ambiguous(self, gpt, provider, pool):
        with init("$1", name="a", parent=None), init("$1", name="b", parent=None):
            errors = [in_a_thread(gpt), pool.submit(gpt).exception()]
            assert in_a_thread(get_session) is None
            assert isinstance(in_a_thread(budget_core.spent), AmbiguousBudget)
        assert [type(error) for error in errors] == [AmbiguousBudget, AmbiguousBudget]
        assert errors[0].sessions == ("a", "b")
        assert provider.requests == 0

    def test_two_threads_see_only_their_own(self, gpt, provider):
        provider.respond(lambda asked: Reply(output_tokens=int(asked.last_text), gate=both))
        both = Gate(2)

        def request(tokens):
            with init("$1") as session:
                gpt(tokens)
                assert get_session() is session
                return session.spent_nanos, session.parent

        with ThreadPoolExecutor(2) as pool:
            spent = dict(zip(["100", "300"], pool.map(request, ["100", "300"]), strict=True))
        assert not both.timed_out
        bills = {bill.body["messages"][0]["content"]: bill.nanos for bill in provider.bills}
        assert spent == {tokens: (nanos, None) for tokens, nanos in bills.items()}

    async def test_two_tasks_see_only_their_own(self, gpt_async, provider):
        provider.respond(lambda asked: Reply(output_tokens=int(asked.last_text), gate=both))
        both = Gate(2)

        async def request(tokens):
            with init("$1") as session:
                await gpt_async(tokens)
                assert get_session() is session
                return session.spent_nanos, session.parent

        spent = dict(
            zip(["100", "300"], await asyncio.gather(request("100"), request("300")), strict=True)
        )
        assert not both.timed_out
        bills = {bill.body["messages"][0]["content"]: bill.nanos for bill in provider.bills}
        assert spent == {tokens: (nanos, None) for tokens, nanos in bills.items()}


class TestBind:
    @pytest.fixture
    def two(self):
        """One budget in force here, and one that makes whatever is unbound ambiguous."""
        with init("$1", parent=None) as mine:
            other = Context().run(init, "$1")
            yield mine
            assert other.spent == 0
            teardown(other)

    def test_a_thread(self, two, gpt, square):
        assert not isinstance(in_a_thread(bind(gpt)), BaseException)
        square(two)

    def test_submit_and_map(self, two, gpt, pool, square, provider):
        pool.submit(bind(gpt)).result()
        asking = bind(lambda _: gpt())
        provider.default = Reply("Hi", gate=(gate := Gate(4)))
        list(pool.map(asking, range(4)))
        assert not gate.timed_out
        square(two)
        assert provider.requests == 5

    async def test_an_executor(self, gpt, square):
        other = Context().run(init, "$1")
        with init("$1") as mine:
            await asyncio.get_running_loop().run_in_executor(None, bind(gpt))
            square(mine)
        teardown(other)

    def test_a_coroutine_function_stays_one(self, two, provider, square):
        async def ask():
            async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="t") as client:
                await client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
            return get_session()

        bound = bind(ask)
        assert asyncio.iscoroutinefunction(bound)
        assert in_a_thread(lambda: asyncio.run(bound())) is two
        square(two)

    def test_with_the_session_that_is_named(self, two, gpt, square):
        with AgentBudget("$1", parent=None).session() as named:
            in_a_thread(bind(gpt, named))
            assert in_a_thread(bind(get_session, named)) is named
            square(named)
        assert two.spent == 0

    def test_budgets_opened_inside_are_children(self, two):
        assert in_a_thread(bind(lambda: AgentBudget("$1").session().parent)) is two

    def test_nothing_stays_behind_in_the_thread(self, two, pool):
        with ThreadPoolExecutor(1) as one:
            one.submit(bind(get_session)).result()
            assert one.submit(context.guarded).result() == ()

    def test_it_keeps_the_name_and_the_arguments(self):
        def work(a, *, b):
            """Work."""
            return a, b

        bound = bind(work)
        assert (bound.__name__, bound.__doc__, bound(1, b=2)) == ("work", "Work.", (1, 2))

    def test_a_generator_function_cannot_be_bound(self):
        def numbers():
            yield 1

        async def async_numbers():
            yield 1

        for function in (numbers, async_numbers):
            with pytest.raises(TypeError, match="iterated over"):
                bind(function)


class TestProcess:
    def test_every_thread_pays_from_it(self, gpt, square):
        with init("$1", scope="process") as session:
            in_a_thread(gpt)
            assert in_a_thread(get_session) is session
            square(session)

    def test_what_is_opened_in_any_thread_is_a_part_of_it(self, gpt, square):
        def request():
            with init("$0.50") as mine:
                gpt()
                return mine

        with init("$1", scope="process") as session:
            child = in_a_thread(request)
            assert child.parent is session
            assert in_a_thread(lambda: AgentBudget("$1").session().parent) is session
            alone = in_a_thread(lambda: AgentBudget("$1", parent=None).session())
            assert alone.parent is None
            square(session)
        assert child.spent_nanos == session.spent_nanos

    def test_it_limits_what_is_opened_in_threads(self, provider, gpt):
        with init("$0.000001", scope="process"):

            def request():
                with init("$5"):
                    gpt()

            assert isinstance(in_a_thread(request), BudgetExhausted)
        assert provider.requests == 0

    def test_it_pays_where_its_children_would_be_ambiguous(self, gpt, square):
        with init("$1", scope="process") as session:
            first, second = Context().run(init, "$0.50"), Context().run(init, "$0.50")
            assert in_a_thread(get_session) is session
            in_a_thread(gpt)
            square(session)
            assert first.spent == second.spent == 0
            teardown(first)
            assert in_a_thread(get_session) is second  # the limit that was set nearest
            teardown(second)
            assert in_a_thread(get_session) is session

    def test_it_pays_beside_one_that_is_not_its_child(self, gpt, square):
        stranger = Context().run(init, "$1")
        with init("$1", scope="process") as session:
            in_a_thread(gpt)
            square(session)
        assert stranger.spent == 0
        teardown(stranger)

    def test_a_second_one_lies_within_the_first(self):
        with init("$2", scope="process") as first:
            second = Context().run(init, "$1", scope="process")
            assert second.parent is first
            assert in_a_thread(get_session) is second
            teardown(second)

    def test_two_that_begin_at_once_do_not_miss_each_other(self, monkeypatch):
        opening = threading.Barrier(2, timeout=1)

        class Slow(AgentBudget):
            def session(self, *args, **options):
                made = super().session(*args, **options)
                with suppress(threading.BrokenBarrierError):
                    opening.wait()  # both are here at once, or one comes after the other
                return made

        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: init(Slow("$1"), scope="process"), range(2)))
        parents = [session.parent for session in both]
        assert None in parents
        assert any(session in parents for session in both)
        for session in both:
            teardown(session)

    def test_two_that_are_unrelated_on_purpose_are_ambiguous(self, gpt, provider):
        with init("$1", scope="process"), init("$1", scope="process", parent=None):
            assert isinstance(in_a_thread(gpt), AmbiguousBudget)
        assert provider.requests == 0

    def test_another_scope_is_refused(self):
        with pytest.raises(InvalidBudget, match="'thread'"):
            init("$1", scope="thread")


class TestNested:
    def test_the_inner_ones_money_is_the_outer_ones(self, gpt, square):
        with init("$1") as outer:
            gpt()
            before = outer.spent_nanos
            with init("$0.10") as inner:
                assert inner.parent is outer
                assert get_session() is inner
                gpt()
            assert get_session() is outer
            assert inner.spent_nanos + before == outer.spent_nanos
            square(outer)

    def test_the_outer_one_limits_the_inner_one(self, gpt, provider):
        with init("$0.000001"), init("$5"), pytest.raises(BudgetExhausted):
            gpt()
        assert provider.requests == 0

    def test_inside_a_session_it_is_a_child_of_that(self):
        with AgentBudget("$1").session() as around, init("$5") as session:
            assert session.parent is around
            assert session.limit == 1

    def test_parent_none_stands_alone(self):
        with init("$1"), init("$5", parent=None) as alone:
            assert alone.parent is None
            assert alone.limit == 5

    def test_the_outer_one_takes_the_inner_ones_with_it(self, gpt, provider):
        outer, middle, inner = init("$3"), init("$2"), init("$1")
        assert teardown(outer)["session_id"] == outer.id
        assert all(session.closed for session in (outer, middle, inner))
        assert get_session() is None
        assert teardown(inner) is teardown(middle) is None

    def test_one_beside_it_stays(self):
        outer, beside = init("$1"), init("$1", parent=None)
        teardown(outer)
        assert get_session() is beside
        teardown()

    def test_one_inside_it_elsewhere_is_refused_until_torn_down(self, gpt, provider):
        outer, elsewhere = init("$2"), Context()
        elsewhere.run(context.enter, outer)
        inner = elsewhere.run(init, "$1")
        teardown(outer)
        with pytest.raises(BudgetExhausted, match="is closed"):
            elsewhere.run(gpt)
        assert provider.requests == 0
        assert elsewhere.run(teardown)["session_id"] == inner.id


class TestTeardown:
    def test_it_returns_the_final_report_once(self):
        session = init("$1", name="mine")
        session.track(cost=0.25)
        open_call = session.open_call(CallRequest(kind="tool", name="t", cost=10**8))
        report = teardown()
        assert open_call.ended  # silence is never free
        assert (report["session_id"], report["total_spent"], report["reserved"]) == (
            "mine", 0.35, 0,
        )  # fmt: skip
        assert session.closed
        assert teardown() is None
        assert teardown(session) is None

    def test_of_many_threads_one_gets_the_report(self, pool):
        session, gate = init("$1"), threading.Barrier(4, timeout=30)

        def end():
            gate.wait()
            return teardown(session)

        reports = [future.result() for future in [pool.submit(end) for _ in range(4)]]
        assert len([report for report in reports if report is not None]) == 1

    def test_in_a_thread_that_never_saw_it(self):
        session = init("$1")
        assert in_a_thread(lambda: teardown(session))["session_id"] == session.id
        assert get_session() is None
        assert context.guarded() == ()

    async def test_in_a_task_that_inherited_it(self, gpt_async, square):
        session = init("$1")

        async def work():
            await gpt_async()
            return teardown()

        report = await asyncio.create_task(work())
        assert report["total_spent_nanos"] == session.spent_nanos
        square(session)
        assert get_session() is None

    async def test_of_one_that_a_task_opened(self):
        async def work():
            return init("$1")

        session = await asyncio.create_task(work())
        assert get_session() is session  # it is the only one
        assert teardown(session)["session_id"] == session.id

    def test_it_guesses_nobody_elses(self, caplog):
        session = Context().run(init, "$1", name="theirs")
        assert teardown() is None
        assert not session.closed
        assert "theirs" in caplog.text
        teardown(session)

    def test_without_any_it_says_nothing(self, caplog):
        assert teardown() is None
        assert not caplog.records

    def test_of_a_session_that_is_none_of_ours(self):
        with AgentBudget("$1").session() as session:
            assert teardown(session) is None
            assert not session.closed

    def test_at_the_end_of_a_block_also_by_an_error(self):
        with pytest.raises(ZeroDivisionError), init("$1") as session:
            _ = 1 / 0
        assert session.closed
        assert get_session() is None

    async def test_at_the_end_of_an_async_block(self):
        async with init("$1") as session:
            assert get_session() is session
        assert session.closed

    def test_inside_its_own_block(self):
        with init("$1") as session:
            assert teardown()["session_id"] == session.id
        assert teardown() is None

    def test_by_closing_the_session(self):
        session = init("$1")
        session.close()
        assert get_session() is None
        assert teardown() is None

    def test_a_session_that_is_entered_again_is_an_ordinary_one(self):
        with init("$1") as session:
            session.track(cost=0.1)
        with session:
            session.track(cost=0.1)
            assert get_session() is None
        assert session.spent == 0.2

    def test_by_the_garbage_collector_it_waits(self):
        def work():
            with init("$1"):
                yield

        holder = [work()]
        next(holder[0])
        holder.append(holder)
        del holder
        gc.collect()
        assert dropin._open
        assert AgentBudget("$1").session().spent == 0  # whoever asks next does what was queued
        assert not dropin._open
        context.clear()

    def test_a_ledger_that_fails_keeps_nothing_else_in_place(self, monkeypatch):
        session = init("$1")
        monkeypatch.setattr(session.ledger, "close", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            teardown()
        assert get_session() is None


class TestRefused:
    """What cannot begin leaves nothing in force; the fixture above checks that."""

    @pytest.mark.parametrize("budget", ["nonsense", -1, "$5/fortnight"])
    def test_a_bad_budget(self, budget):
        with pytest.raises(InvalidBudget):
            init(budget)

    def test_a_bad_option(self):
        with pytest.raises(TypeError, match="colour"):
            init("$1", colour="red")
        with pytest.raises(InvalidBudget, match="mode"):
            init("$1", mode="lenient")

    def test_a_bad_limit_of_an_agent(self):
        with pytest.raises(InvalidBudget, match="plenty"):
            init("$1", agents={"researcher": "$1", "writer": "plenty"})

    def test_an_account_with_other_limits(self):
        ledger = MemoryLedger()
        with init("$1", name="same", ledger=ledger), pytest.raises(AccountConflict):
            init("$2", name="same", ledger=ledger, parent=None)

    def test_an_sdk_that_cannot_be_guarded(self, monkeypatch):
        def refuse():
            raise GuardError("not what it was")

        monkeypatch.setattr(dropin, "GuardLease", refuse)
        with pytest.raises(GuardError):
            init("$1")

    def test_an_interrupt_in_the_middle(self, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(dropin, "_watch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            init("$1")


class TestReading:
    @pytest.mark.parametrize("name", ["spent", "remaining", "report", "track"])
    def test_without_a_budget_it_says_what_to_do(self, name):
        with pytest.raises(AgentBudgetError, match=r"Call budget_core\.init"):
            getattr(budget_core, name)()

    def test_what_it_says_is_the_sessions(self):
        with init("$1") as session:
            assert budget_core.track("found", 0.25, "search") == "found"
            assert (budget_core.spent(), budget_core.remaining()) == (0.25, 0.75)
            assert budget_core.report()["breakdown"]["tools"]["by_tool"] == {"search": 0.25}
            with pytest.raises(BudgetExhausted) as caught:
                budget_core.track("paid", cost=1)
        assert caught.value.result == "paid"
        assert session.spent == 1.25

    def test_without_a_limit_nothing_is_known_of_what_remains(self):
        with init(None):
            assert budget_core.remaining() is None

    def test_in_a_block_of_another_kind_it_is_who_pays_there(self):
        session = AgentBudget("$1").session()
        context.guard(session)
        elsewhere = Context().run(init, "$1")
        assert get_session() is session
        with init("$1") as mine:
            assert get_session() is mine
        context.unguard(session)
        teardown(elsewhere)


class TestAdapters:
    @pytest.fixture
    def plugged(self):
        added = []

        def plug(answer):
            class Plugin:
                @hooks.hookimpl
                def budget_dropin(self, request):
                    return answer(request)

            added.append(plugin := Plugin())
            hooks.register(plugin)

        yield plug
        for plugin in added:
            hooks.unregister(plugin)

    def test_each_hears_of_the_session_and_of_its_end(self, plugged):
        heard, ended = [], []

        def watch(request):
            heard.append(request)
            return lambda: ended.append(request.session.closed)

        plugged(watch)
        plugged(lambda _: None)
        with init("$1", agents={"writer": "$0.10"}) as session:
            assert get_session() is heard[0].session is session
            assert heard[0].agents == {"writer": "$0.10"}
            assert ended == []
        assert ended == [False]

    def test_one_that_fails_is_logged_and_nothing_else(self, plugged, caplog):
        ended = []
        plugged(lambda _: 1 / 0)
        plugged(lambda _: lambda: 1 / 0)
        plugged(lambda _: lambda: ended.append(1))
        with init("$1"):
            assert "ZeroDivisionError" in caplog.text
            caplog.clear()
        assert "ZeroDivisionError" in caplog.text
        assert ended == [1]

    def test_limits_that_nobody_can_apply_are_told(self, monkeypatch, caplog):
        monkeypatch.setattr("budget_core.frameworks.joining.find_spec", lambda _: None)
        with init("$1"):
            assert not caplog.records
        with init("$1", agents={"writer": "$0.10"}):
            assert "writer" in caplog.text
        assert caplog.records[0].levelno == logging.WARNING


def python(code, *args):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=False, timeout=60
    )


class TestProcesses:
    """What only a process of its own can show."""

    def test_an_sdk_that_is_imported_later_is_guarded(self, provider):
        code = """
import sys, budget_core
session = budget_core.init("$1")
assert not {"openai", "anthropic"} & set(sys.modules)
import openai, anthropic
question = [{"role": "user", "content": "Why?"}]
client = openai.OpenAI(base_url=sys.argv[1], api_key="t")
client.chat.completions.create(model="gpt-4o-mini", messages=question)
client = anthropic.Anthropic(base_url=sys.argv[2], api_key="t")
client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=question)
print(budget_core.teardown()["total_spent_nanos"])
"""
        done = python(code, provider.openai_url, provider.anthropic_url)
        assert (done.stderr, provider.requests) == ("", 2)
        assert int(done.stdout) == provider.bill_nanos

    def test_the_last_teardown_takes_the_guards_out(self):
        code = """
import threading, budget_core, openai, anthropic
from openai._base_client import SyncAPIClient as one
from anthropic._base_client import AsyncAPIClient as other
guarded = lambda: {hasattr(each.request, "__wrapped__") for each in (one, other)}
assert guarded() == {False}
outer, inner = budget_core.init("$1"), budget_core.init("$1")
thread = threading.Thread(target=lambda: budget_core.init("$1").close())
thread.start(); thread.join()
assert guarded() == {True}
budget_core.teardown()
assert guarded() == {True}
try:
    budget_core.init("nonsense")
except budget_core.InvalidBudget:
    pass
budget_core.teardown()
assert guarded() == {False}
session = budget_core.init("$1")
thread = threading.Thread(target=budget_core.teardown, args=(session,))
thread.start(); thread.join()
assert guarded() == {False}
with budget_core.init("$1"):
    assert guarded() == {True}
    budget_core.init("$1")
assert guarded() == {False}
"""
        done = python(code)
        assert (done.stderr, done.returncode) == ("", 0)

    def test_it_may_end_without_teardown(self, provider):
        code = """
import sys, threading, openai, budget_core
budget_core.init("$1")
client = openai.OpenAI(base_url=sys.argv[1], api_key="t")
question = [{"role": "user", "content": "Why?"}]
ask = lambda: client.chat.completions.create(model="gpt-4o-mini", messages=question)
def late():
    threading.main_thread().join()
    ask()
    print(round(budget_core.spent() * 10**9))
ask()
threading.Thread(target=late).start()
"""
        done = python(code, provider.openai_url)
        assert (done.stderr, done.returncode) == ("", 0)
        assert provider.requests == 2
        assert int(done.stdout) == provider.bill_nanos

    def test_importing_the_package_loads_nothing_of_it(self):
        code = (
            "import sys, budget_core; print({'openai', 'anthropic', 'google.genai', 'wrapt', "
            "'langchain_core', 'pluggy', 'budget_core.sdk.dropin'} & set(sys.modules))"
        )
        assert python(code).stdout.strip() == "set()"
