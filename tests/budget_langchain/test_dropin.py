"""`budget_core.init` under LangChain: no callback is passed, and the limits of agents hold."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel

from budget_core import BudgetExhausted, UnknownModel, bind, hooks, init, teardown
from budget_core.calls import context
from budget_core.frameworks import integration, joining
from budget_core.testing import Reply, ToolCall
from budget_langchain import LangChainBudgetCallback

GO = {"messages": [("user", "go")]}


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert integration._watching == {}
    assert context.offered() == ()


@pytest.fixture
def agent(provider, gpt, search_tool):
    """Make an agent, by its name, that searches for as long as it may."""

    def reply(incoming):
        call = ToolCall("search", {"query": str(incoming.index)})
        return Reply(tool_calls=[call], input_tokens=300, output_tokens=20)

    provider.respond(reply)
    return lambda name="scout": create_agent(gpt(), [search_tool], name=name)


def in_a_thread(function):
    came = []

    def run():
        try:
            came.append(function())
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    (result,) = came
    return result


def limited(session):
    """Return the session of the one agent that has a limit."""
    (child,) = (child for child in session.children() if not child.closed)
    return child


async def test_every_way_of_asking_a_model_is_paid_for(provider, gpt, model_way, ask, square):
    with init("$1") as session:
        await ask(model_way, gpt(), "Hello")
        assert provider.requests == 1
        square(session)
    assert session.report()["breakdown"]["llm"]["calls"] == 1


async def test_every_way_of_running_an_agent_is_paid_for(
    provider, gpt, agent_way, drive, researcher, steps, square
):
    steps(2)
    with init("$1") as session:
        await drive(agent_way, researcher(gpt()), "go")
        assert provider.requests == 3
        square(session)
    assert session.report()["breakdown"]["tools"]["calls"] == 2


def test_claude_too(provider, claude, square):
    with init("$1") as session:
        claude().invoke("Hello")
        square(session)


def test_an_agent_is_stopped_at_its_own_limit(provider, agent, square):
    with init("$1", agents={"scout": "$0.02"}) as session:
        with pytest.raises(BudgetExhausted) as raised:
            agent("scout").invoke(GO)
        child = limited(session)
        assert raised.value.account == child.id
        assert 0 < child.spent_nanos == session.spent_nanos <= 20_000_000
        square(session)


def test_other_agents_have_the_rest(provider, agent, square):
    with init("$0.04", agents={"scout": "$0.001"}) as session:
        with pytest.raises(BudgetExhausted) as raised:
            agent("other").invoke(GO)
        assert raised.value.account == session.id
        assert limited(session).spent == 0
        square(session)


def test_tools_are_counted(provider, agent, square):
    with init("$1", tool_calls=3) as session:
        with pytest.raises(BudgetExhausted) as raised:
            agent().invoke(GO)
        assert (raised.value.unit, provider.requests) == ("tool_calls", 4)
        square(session)


@pytest.mark.parametrize("how", ["thread", "bound", "pool", "process"])
def test_the_limits_of_agents_hold_in_threads(provider, agent, how, square):
    everywhere = "process" if how == "process" else "context"
    with init("$1", agents={"scout": "$0.02"}, scope=everywhere) as session:

        def go():
            return agent("scout").invoke(GO)

        if how == "pool":
            with ThreadPoolExecutor(1) as pool:
                error = pool.submit(bind(go)).exception()
        else:
            error = in_a_thread(bind(go) if how == "bound" else go)
        assert isinstance(error, BudgetExhausted)
        assert error.account == limited(session).id
        square(session)


def test_the_process_limits_agents_of_budgets_in_threads(provider, agent, square):
    with init("$1", agents={"scout": "$0.02"}, scope="process") as session:

        def request():
            with init("$0.50") as mine:
                try:
                    agent("scout").invoke(GO)
                finally:
                    square(mine)

        error = in_a_thread(request)
        assert isinstance(error, BudgetExhausted)
        assert error.account == limited(session).id
        square(session)


def test_the_outer_limits_of_agents_hold_within_an_inner_budget(provider, agent, square):
    with init("$1", agents={"scout": "$0.02"}) as outer:
        scout = limited(outer)
        with init("$0.50", agents={"scout": "$0.40"}) as inner:
            with pytest.raises(BudgetExhausted) as raised:
                agent("scout").invoke(GO)
            assert raised.value.account == scout.id
            assert inner.spent_nanos == limited(inner).spent_nanos == scout.spent_nanos
            square(inner)
        square(outer)


def test_so_they_do_within_a_budget_that_stands_alone(provider, agent, square):
    with init("$1", agents={"scout": "$0.02"}) as outer, init("$0.50", parent=None) as inner:
        with pytest.raises(BudgetExhausted) as raised:
            agent("scout").invoke(GO)
        assert raised.value.account == limited(outer).id
        square(inner)
        square(outer)


async def test_a_budget_that_is_opened_inside_a_run_counts_from_there_on(
    provider, gpt, researcher, steps, square
):
    from langchain_core.runnables import RunnableLambda

    def work(text):
        with init("$0.50") as inner:
            gpt().invoke(text)
        return inner

    with init("$1") as outer:
        inner = RunnableLambda(work).invoke("Hello")
        assert inner.parent is outer
        assert inner.spent_nanos == outer.spent_nanos
        square(outer)


def test_a_callback_inside_it_is_charged_once(provider, gpt, researcher, steps, square):
    steps(2)
    with (
        init("$1") as session,
        LangChainBudgetCallback("$0.50", tool_costs={"search": 0.01}) as own,
    ):
        researcher(gpt()).invoke(GO)
        assert own.session.parent is session
        assert session.spent_nanos == own.session.spent_nanos == provider.bill_nanos + 20_000_000
        assert session.reserved == 0
    assert session.report()["breakdown"]["tools"] == {
        "total": 0.02, "calls": 2, "by_tool": {"search": 0.02},
    }  # fmt: skip


def test_a_model_over_no_guarded_sdk_is_held_as_well():
    with init("$1"), pytest.raises(UnknownModel):
        FakeListChatModel(responses=["hi"]).invoke("Hello")
    assert FakeListChatModel(responses=["hi"]).invoke("Hello").text == "hi"


def test_after_teardown_nothing_is_watched(provider, gpt, researcher, steps):
    session = init("$1", tool_calls=0)
    teardown()
    steps(1)
    researcher(gpt()).invoke(GO)
    assert session.report()["breakdown"]["tools"]["calls"] == 0
    assert provider.requests == 2


def test_a_call_that_langchain_never_ended_is_charged_at_teardown(gpt):
    session = init("$1")
    (handler,) = integration._watching[session]
    handler.on_chat_model_start(
        {}, [[]], run_id=1, metadata={"ls_model_name": "gpt-4o"}, invocation_params={}
    )
    assert session.reserved > 0
    teardown()
    assert session.reserved == 0
    assert session.spent > 0


@pytest.fixture(autouse=True)
def _no_crewai(monkeypatch):
    """Where other tests have imported CrewAI, its adapter would give agents limits, too."""
    found = joining.find_spec
    monkeypatch.setattr(
        joining, "find_spec", lambda name: None if name == "crewai" else found(name)
    )


def test_what_the_agents_cannot_have_is_logged_and_the_budget_holds(caplog):
    reserve = {"finalization_reserve": 0.9}
    with init("$1", agents={"a": "$1", "b": "$1"}, **reserve) as session:
        assert session.limit == 1
    assert "are not applied" in caplog.text


def test_without_langchain_nobody_watches(monkeypatch, caplog):
    monkeypatch.setattr(joining, "find_spec", lambda _: None)
    with init("$1"):
        assert integration._watching == {}
    assert not caplog.records
    with init("$1", agents={"scout": "$0.10"}):
        assert "scout" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_it_is_installed_as_a_plugin():
    assert hooks.listening("budget_dropin")


def python(code, *args):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_importing_it_imports_no_framework():
    code = (
        "import sys, budget_langchain.dropin, budget_core; budget_core.init('$1');"
        "print([m for m in sys.modules if m.startswith('lang')])"
    )
    assert python(code).stdout.strip() == "[]"


def test_langchain_may_be_imported_later_and_by_another_thread(provider, agent):
    code = """
import sys, threading, budget_core
budget_core.init("$1")
budget_core.init("$0.50", agents={"scout": "$0.02"})
assert "langchain_core" not in sys.modules
def load():
    global create_agent, ChatOpenAI
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI
thread = threading.Thread(target=load)
thread.start(); thread.join()
def search(query: str) -> str:
    "Search."
    return "found"
model = ChatOpenAI(model="gpt-4o", base_url=sys.argv[1], api_key="t", max_retries=0)
try:
    create_agent(model, [search], name="scout").invoke({"messages": [("user", "go")]})
except budget_core.BudgetExhausted as error:
    print(error.limit)
print(budget_core.teardown()["total_spent_nanos"])
budget_core.teardown()
from openai._base_client import SyncAPIClient
print(hasattr(SyncAPIClient.request, "__wrapped__"))
"""
    done = python(code, provider.openai_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.02", str(provider.bill_nanos), "False"]
    assert 0 < provider.bill_nanos <= 20_000_000


def test_an_import_does_not_fail_because_of_it():
    code = """
import budget_core
from budget_core.frameworks import integration
session = budget_core.init("$1", agents={"scout": "$0.10"})
gone = budget_core.init("$1", parent=None)
budget_core.teardown(gone)
session.child_session = None
import langchain_core
print(integration._watching)
"""
    done = python(code)
    assert done.stdout.strip() == "{}"
    assert "LangChainBudgetCallback could not join" in done.stderr
