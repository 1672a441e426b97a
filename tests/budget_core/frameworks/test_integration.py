"""Which adapter pays where: for those who write one."""

import contextvars
import gc
import logging
import sys
import threading
import weakref
from importlib import import_module

import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest, bind, init
from budget_core.frameworks import AgentIntegration, Integration, join, paying
from budget_core.hooks import DropinRequest

CALL = CallRequest(model="gpt-4o", input_tokens=1_000, output_cap=1_000)


class Mine(Integration):
    pass


class Another(Integration):
    pass


def elsewhere(function):
    """Call a function in a thread, which inherits nothing."""
    said = []
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join()
    return said[0]


def test_the_innermost_that_was_entered_is_active():
    assert Mine.active() is None
    with Mine("$1") as outer:
        with Mine("$1") as inner, Another("$1"):
            assert Mine.active() is inner
            assert elsewhere(Mine.active) is None
            assert elsewhere(bind(Mine.active)) is inner
        assert Mine.active() is outer
        assert Another.active() is None
    assert Mine.active() is None


def test_all_that_pay_are_told_innermost_first():
    with init("$1") as session:
        around = Mine(session=session)
        end = around.watch()
        with Mine("$0.5") as outer, Another("$0.5"), Mine("$0.5") as inner:
            assert Mine.all_active() == (inner, outer, around)
        end()
    assert Mine.all_active() == ()


def test_who_was_entered_elsewhere_pays_only_where_nobody_else_was():
    """Two requests of one server that share a session: each has limits of its own."""
    with AgentBudget("$1").session() as session, Mine(session=session) as other:
        assert elsewhere(bind(Mine.all_active)) == (other,)

        def request():
            with Mine(session=session) as own:
                return own, Mine.all_active()

        own, active = elsewhere(bind(request))
    assert active == (own,)


def test_one_is_active_where_something_else_pays():
    mine = Mine("$1")
    with mine.activated():
        assert Mine.active() is mine
        assert paying() == ()
    assert Mine.active() is None


async def test_it_opens_and_closes_asynchronously(blocking):
    async with Mine("$1", ledger=blocking) as mine:
        assert Mine.active() is mine
    assert mine.session.closed
    assert paying() == ()


@pytest.mark.parametrize("kind", [Mine, AgentIntegration])
@pytest.mark.parametrize(
    ("typo", "meant"),
    [("soft_limt", "soft_limit"), ("tool_cost", "tool_costs"), ("agnets", "agents")],
)
def test_a_typo_in_an_option_is_named_with_what_was_meant(kind, typo, meant):
    with pytest.raises(TypeError, match=f"{kind.__name__}.*{typo!r}.*Did you mean {meant!r}"):
        kind("$1", **{typo: 0.5})
    with pytest.raises(TypeError, match=repr(meant)):
        kind(session=AgentBudget("$1").session(), **{typo: 0.5})


def test_a_callable_says_the_last_word_where_an_adapter_allows_that():
    class Calling(AgentIntegration):
        calls_back = True

    with pytest.raises(ValueError, match="'finalize' or 'raise'; got"):
        AgentIntegration("$1", on_exhausted=len)
    with pytest.raises(ValueError, match="a callable; got 'stop'"):
        Calling("$1", on_exhausted="stop")
    calling = Calling("$0", on_exhausted=lambda error: f"spent {error.spent}", wrap_up="Enough.")
    assert calling.ask_sync(None, lambda _last: calling.session.open_call(CALL)) == "spent 0.0"


def test_a_tool_that_is_refused_is_told_to_the_model():
    budget = AgentIntegration("$0.01", tool_costs={"search": "$0.01"})
    ways = [budget.use_sync("search", {}, lambda refusal: refusal) for _ in range(2)]
    assert ways[0] is None
    assert ways[1].startswith("search was stopped")
    budget.on_exhausted = "raise"
    with pytest.raises(BudgetExhausted):
        budget.use_sync("search", {}, lambda refusal: refusal)


def test_two_of_one_session_are_told_apart():
    session = AgentBudget("$1", parent=None).session()
    with Mine(session=session) as first:
        with Mine(session=session) as second:
            assert Mine.active() is second
        assert Mine.active() is first
        assert elsewhere(bind(Mine.active)) is first


def test_what_outlives_its_block_still_finds_it_and_is_refused():
    with Mine("$1") as mine:
        context = contextvars.copy_context()
    assert context.run(Mine.active) is mine
    assert mine.session.closed


def test_one_that_watches_is_active_wherever_its_session_pays():
    with init("$1") as session:
        watching = Mine(session=session)
        end = watching.watch()
        assert Mine.active() is elsewhere(Mine.active) is watching
        with Another("$0.5"):  # a part of it
            assert Mine.active() is watching
        end()
        assert Mine.active() is None
    end()  # twice is once


def test_who_pays_is_told_innermost_first():
    assert paying() == ()
    with init("$1") as outer, init("$1") as inner:
        assert paying() == (inner, outer)
        assert elsewhere(paying) == (inner, outer)


def test_nobody_pays_where_budgets_know_nothing_of_each_other():
    with init(AgentBudget("$1", parent=None)), init(AgentBudget("$1", parent=None)) as second:
        assert paying()[0] is second
        assert elsewhere(paying) == ()


def test_a_tool_is_asked_for_with_its_price_and_its_arguments():
    mine, arguments = Mine("$1", tool_costs={"search": "$0.01"}), {"query": ["salt"]}
    request = mine.tool_request("search", arguments, agent="worker", mixin=KeyError)
    arguments["query"].append("sea")
    assert (request.kind, request.name, request.cost) == ("tool", "search", 10_000_000)
    assert request.fingerprint == ("search", '{"query": ["salt"]}')
    assert (request.agent, request.mixin) == ("worker", KeyError)


@pytest.fixture
def framework(tmp_path, monkeypatch):
    """A framework that can be imported, and its adapter, which tells what was made."""
    adapter = "from budget_core.frameworks import Integration\nimport their_framework.core\n"
    (tmp_path / "their_framework").mkdir()
    (tmp_path / "their_framework" / "__init__.py").touch()
    (tmp_path / "their_framework" / "core.py").touch()
    (tmp_path / "their_adapter.py").write_text(f"{adapter}class Theirs(Integration): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("their_framework", "their_framework.core", "their_adapter"):
        sys.modules.pop(name, None)


def joined(session, adapter="their_adapter:Theirs"):
    request = DropinRequest(session, {"worker": "$0.2"})
    return join(request, framework="their_framework.core", adapter=adapter)


@pytest.mark.parametrize("already", [True, False])
def test_an_adapter_joins_once_its_framework_is_imported(framework, already):
    if already:
        import_module("their_framework.core")
    with init("$1") as session:
        end = joined(session)
        assert ("their_adapter" in sys.modules) == already
        import_module("their_framework.core")
        Theirs = sys.modules["their_adapter"].Theirs
        active = Theirs.active()
        assert active.session is session
        assert active.session_of("worker").limit == 0.2
        end()
        assert Theirs.active() is None


def test_it_joins_without_limits_of_agents_that_it_cannot_open(framework, caplog):
    import_module("their_framework.core")
    with init("$1") as session:
        request = DropinRequest(session, {"worker": "a lot"})
        end = join(request, framework="their_framework.core", adapter="their_adapter:Theirs")
        assert sys.modules["their_adapter"].Theirs.active().agents == {}
        end()
    assert "are not applied by Theirs" in caplog.text


def test_one_that_ended_before_joins_no_more(framework):
    with init("$1") as session:
        joined(session)()
        import_module("their_framework.core")

        assert "their_adapter" not in sys.modules


def test_sessions_that_end_are_not_kept_for_a_framework_that_nobody_imports(framework):
    with init("$1") as session:
        joined(session)()
    kept = weakref.ref(session)
    del session
    gc.collect()
    assert kept() is None


def test_an_adapter_that_fails_does_not_fail_the_programs_import(framework, caplog):
    with init("$1") as session, caplog.at_level(logging.ERROR, "budget_core"):
        joined(session, "their_adapter:Nobody")
        import_module("their_framework.core")

    assert "their_adapter:Nobody could not join" in caplog.text


def test_a_framework_that_is_not_installed_is_nobodys_business():
    request = DropinRequest(AgentBudget("$1").session(), {})
    assert join(request, framework="no_such_framework", adapter="nowhere:Nobody") is None
