import asyncio
import inspect
import math
import os
import re
import signal
import subprocess
import sys
import threading
import types
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pluggy
import pytest
import typer
from typer.testing import CliRunner

from budget_core import (
    AgentBudget,
    AgentBudgetError,
    LoopDetected,
    MemoryLedger,
    Receipt,
    Usage,
    hooks,
    init,
)
from budget_core.calls.prompt import Prompt
from budget_core.calls.request import CallRequest
from budget_core.calls.responses import read_receipt
from budget_core.errors import GuardError, InvalidCost, Unbounded, UnknownModel
from budget_core.money.prices import lookup, registry
from budget_core.money.prices.rates import Rates
from budget_core.runtime.plugins import manager
from budget_core.session import house_rules

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
SPECS = {
    name: value
    for name, value in vars(hooks).items()
    if name.startswith("budget_") and inspect.isfunction(value)
}
OURS = {  # what of this package joins by each hook
    "budget_models": "src/budget_core/money/prices/price_file.py",
    "budget_price": "src/budget_core/money/prices/lookup.py",
    "budget_estimate": "src/budget_core/calls/tokenizers.py",
    "budget_reserve": "src/budget_core/session/house_rules.py",
    "budget_usage": "src/budget_langchain/outcomes.py",
    "budget_event": "src/budget_core/events/dispatch.py",
    "budget_ledger": "src/budget_core/ledger/resolve.py",
    "budget_guards": "src/budget_core/sdk/installing.py",
    "budget_dropin": "src/budget_crewai/dropin.py",
    "budget_commands": "src/budget_cli/ledger_commands.py",
}
LLM = CallRequest(model="gpt-4o-mini", input_tokens=1_000, output_cap=1_000)


@pytest.fixture(autouse=True)
def _no_models_of_mine():
    yield
    registry.clear()
    lookup.forget()


@pytest.fixture
def plug():
    """Register a function as a plugin, by its name or another one."""
    added = []

    def plug(function, name=None):
        plugin = types.SimpleNamespace(**{name or function.__name__: hooks.hookimpl(function)})
        hooks.register(plugin)
        added.append(plugin)
        return plugin

    yield plug
    for plugin in added:
        hooks.unregister(plugin)


@pytest.mark.parametrize("name", SPECS)
class TestEvery:
    def test_is_documented_in_one_line(self, name):
        assert "\n" not in inspect.getdoc(SPECS[name])
        assert re.search(rf"^\| `{name}` \|", DOCS, re.MULTILINE)

    def test_takes_one_frozen_dataclass(self, name):
        (argument,) = inspect.signature(SPECS[name]).parameters.values()
        from budget_core.events import Event

        kind = Event if name == "budget_event" else getattr(hooks, argument.annotation)
        assert kind.__dataclass_params__.frozen
        assert kind.__doc__
        assert f"`{kind.__name__}" in DOCS

    def test_is_tested_here(self, name):
        assert hasattr(TestEach, f"test_{name}")

    def test_is_shown_by_what_we_ship(self, name):
        assert f"def {name}(" in (ROOT / OURS[name]).read_text(encoding="utf-8")
        assert f"](../{OURS[name]})" in DOCS


def test_every_argument_is_exported():
    assert {name for name in dir(hooks) if name.endswith("Request")} < set(hooks.__all__)


class TestEach:
    def test_budget_models(self, plug):
        def budget_models(request):
            request.register("mine", 1, 2, max_output_tokens=7)

        plug(budget_models)
        call = AgentBudget("$1").session().open_call(CallRequest(model="mine", input_tokens=10))
        assert call.reservation.amounts.usd == 10 * 1_000 + 7 * 2_000
        call.release()
        lookup.register_model("mine", 3, 4)  # the user's own come first
        assert lookup.rates("mine") == Rates.of(3, 4, source="registered")

    def test_budget_price(self, plug):
        def budget_price(request):
            return Rates.of(1, 2) if request.model == "mine" else None

        plug(budget_price)
        session = AgentBudget("$1").session()
        call = session.open_call(CallRequest(model="mine", input_tokens=1_000, output_cap=1_000))
        assert call.reservation.amounts.usd == 3_000_000
        call.release()
        with pytest.raises(UnknownModel):
            session.open_call(CallRequest(model="nosuch"))

    def test_budget_ledger(self, plug):
        mine = MemoryLedger()

        def budget_ledger(request):
            return mine if request.url.startswith("mine://") else None

        plug(budget_ledger)
        assert AgentBudget("$1", ledger="mine://here").session().ledger is mine

    def test_budget_estimate(self, plug):
        def budget_estimate(request):
            return 42 if request.model == "gpt-4o-mini" and request.messages else None

        plug(budget_estimate)
        prompt = Prompt([{"role": "user", "content": "x" * 5_000}])
        call = (
            AgentBudget("$1").session().open_call(CallRequest(model="gpt-4o-mini", prompt=prompt))
        )
        call.release()
        assert call.quote.input_tokens == 42

    def test_budget_reserve(self, plug):
        seen = []

        def budget_reserve(request):
            seen.append((request.session, request.call))
            return 300

        plug(budget_reserve)
        session = AgentBudget("$1").session()
        call = session.open_call(LLM)
        assert (call.cap, call.wired) == (300, False)
        call.release()
        assert seen == [(session, LLM)]

    def test_budget_usage(self, plug):
        def budget_usage(request):
            if isinstance(request.response, dict) and "mine" in request.response:
                return Receipt(Usage(*request.response["mine"]), "gpt-4o-mini")
            return None

        plug(budget_usage)
        session = AgentBudget("$1").session()
        session.wrap({"mine": [1_000, 500]})
        assert session.report()["breakdown"]["tokens"]["output"] == 500
        list(session.wrap(iter([{"text": "a"}, {"mine": [1_000, 7]}])))
        assert session.report()["breakdown"]["tokens"]["output"] == 507

    def test_budget_event(self, plug):
        heard = []

        def budget_event(event):
            heard.append((event.session, event.kind))

        plug(budget_event)
        with AgentBudget("$1").session("s") as session:
            session.track(cost=0.01)
        assert heard == [(session, "call")]

    def test_budget_guards(self):
        """In a process of its own, in which nobody else wants SDKs guarded."""
        code = (
            "import sys, types\n"
            "from importlib.machinery import ModuleSpec\n"
            "from budget_core import hooks, init\n"
            "from budget_core.sdk import installing as sdk\n"
            "class Guard:\n"
            "    def install(self): print('in')\n"
            "    def uninstall(self): print('out')\n"
            "class Plugin:\n"
            "    @hooks.hookimpl\n"
            "    def budget_guards(self, request):\n"
            "        request.register('their_sdk', 'their_guard:GUARD')\n"
            "sys.modules['their_sdk'] = types.ModuleType('their_sdk')\n"
            "sys.modules['their_sdk'].__spec__ = ModuleSpec('their_sdk', None)\n"
            "sys.modules['their_guard'] = types.SimpleNamespace(GUARD=Guard())\n"
            "hooks.register(Plugin())\n"
            "import openai\n"
            "with init('$1'): print(sdk.is_guarded('their_sdk'), sdk.is_guarded('openai'))\n"
        )
        assert python(code).stdout.splitlines() == ["in", "True True", "out"]

    @pytest.mark.parametrize("home", ["no_such_module:X", "json:dumps", "json:nothing", None])
    def test_a_guard_that_is_none_is_told_as_one(self, plug, home):
        plug(lambda request: request.register("json", home), "budget_guards")
        if home is None:
            with init("$1"):
                return
        with pytest.raises(GuardError, match="json cannot be guarded by"):
            init("$1")

    def test_budget_dropin(self, plug):
        ended = []

        def budget_dropin(request):
            return lambda: ended.append((request.session.id, request.agents))

        plug(budget_dropin)
        with init("$1", name="s", agents={"writer": "$0.50"}):
            assert ended == []
        assert ended == [("s", {"writer": "$0.50"})]

    def test_budget_commands(self, plug):
        def budget_commands(request):
            request.app.command("mine")(lambda: typer.echo("done"))

        plug(budget_commands)
        import_module("budget_cli.app")  # which plugs ours in
        app = typer.Typer()
        hooks.every("budget_commands", hooks.CommandsRequest(app))
        assert CliRunner().invoke(app, ["mine"]).stdout == "done\n"
        assert "accounts" in CliRunner().invoke(app, ["--help"]).stdout  # ours join likewise


class TestReserving:
    def test_the_least_cap_counts_and_none_raises_the_callers_own(self, plug):
        plug(lambda: None, "budget_reserve")
        plug(lambda: 300, "budget_reserve")
        plug(lambda: 700, "budget_reserve")
        session = AgentBudget("$1").session()
        for asked, cap in ((1_000, 300), (200, 200), (None, 300)):
            call = session.open_call(LLM._replace(output_cap=asked))
            assert call.cap == cap
            call.release()
        session.open_call(CallRequest(kind="tool", name="t", cost=5)).settle()
        assert session.spent_nanos == 5

    def test_what_no_provider_would_take_is_refused(self, plug):
        plug(lambda: 77, "budget_reserve")
        session = AgentBudget("$1").session()
        with pytest.raises(
            AgentBudgetError, match="77 tokens, and as it is asked for it takes 1280"
        ):
            session.open_call(LLM._replace(least=1_280))
        assert [event.kind for event in session.events()] == ["refused"]
        session.open_call(LLM._replace(least=1_280, output_cap=70)).release()  # the caller's own

    def test_it_may_refuse(self, plug):
        def budget_reserve(request):
            raise AgentBudgetError(f"House policy: no {request.call.model}.")

        plug(budget_reserve)
        session = AgentBudget("$1").session()
        with pytest.raises(AgentBudgetError, match=r"House policy: no gpt-4o-mini\."):
            session.open_call(LLM)
        (event,) = session.events()
        assert (event.kind, event.data["reason"]) == ("refused", "AgentBudgetError")
        assert session.reserved == session.spent == 0

    async def test_it_may_refuse_what_is_awaited(self, plug):
        def budget_reserve():
            raise AgentBudgetError("no")

        plug(budget_reserve)
        with pytest.raises(AgentBudgetError, match="no"):
            await AgentBudget("$1").session().open_call_async(LLM)

    def test_a_call_that_changes_is_asked_about_again(self, plug):
        def budget_reserve(request):
            if request.call.model != LLM.model:
                raise AgentBudgetError("no")
            return 500

        plug(budget_reserve)
        session = AgentBudget("$1").session()
        call = session.open_call(LLM)
        call.reprice(LLM._replace(output_cap=900))
        assert call.cap == 500
        with pytest.raises(AgentBudgetError, match="no"):
            call.reprice(LLM._replace(model="gpt-4o"))
        assert call.ended
        assert session.reserved == 0

    @pytest.mark.parametrize("wrong", [0, -1, "500", 1.5, True])
    def test_what_is_no_cap_is_told_and_passed_over(self, plug, wrong, caplog):
        def budget_reserve():
            return wrong

        plug(budget_reserve)
        call = AgentBudget("$1").session().open_call(LLM)
        assert call.cap == 1_000
        call.release()
        assert "answered budget_reserve by" in caplog.text

    def test_no_money_is_held_and_no_lock_while_it_is_asked(self, plug):
        def budget_reserve(request):
            assert request.session.reserved == 0
            request.session.track(cost="0.01")

        plug(budget_reserve)
        session = AgentBudget("$1").session()
        session.open_call(LLM).release()
        assert session.spent == 0.01


class TestNesting:
    """What a plugin itself does, it is not asked about."""

    def test_a_plugin_may_make_calls_before_a_call(self, plug):
        asked = []

        def budget_reserve(request):
            asked.append(request.call.model)
            request.session.open_call(LLM._replace(model="gpt-4o")).settle(Usage(1, 1))
            return 300

        plug(budget_reserve)
        others = []
        plug(lambda request: others.append(request.call.model), "budget_reserve")
        call = AgentBudget("$1").session().open_call(LLM)
        call.release()
        assert call.cap == 300
        assert asked == [LLM.model]
        assert others == [LLM.model, "gpt-4o"]

    @pytest.mark.parametrize("through", ["hook", "budget"])
    def test_a_listener_may_spend(self, plug, through):
        heard = []

        def budget_event(event):
            heard.append(event.data["cost"])
            event.session.track(cost="0.01")

        if through == "hook":
            plug(budget_event)
        listeners = [budget_event] if through == "budget" else []
        session = AgentBudget("$1", listeners=listeners).session()
        session.track(cost="0.02")
        session.track(cost="0.03")
        assert heard == [0.02, 0.03]
        assert session.spent == 0.07
        assert len(session.events()) == 4

    def test_a_listener_may_close_the_session(self):
        session = AgentBudget("$1", listeners=[lambda event: event.session.close()]).session()
        first, second = session.open_call(LLM), session.open_call(LLM)
        first.settle(Usage(1, 1))
        assert second.ended
        assert session.closed
        assert session.reserved == 0

    def test_so_may_a_callback(self):
        asked = []

        def on_loop_detected(report):
            asked.append(1)
            session.open_call(request)

        session = AgentBudget(
            "$1", max_repeated_calls=2, on_loop_detected=on_loop_detected
        ).session()
        request = LLM._replace(fingerprint=1)
        session.open_call(request).settle(Usage(1, 1))
        with pytest.raises(LoopDetected):
            session.open_call(request)
        assert asked == [1]


class TestFailing:
    @pytest.mark.parametrize(
        "name",
        ["budget_price", "budget_estimate", "budget_reserve", "budget_usage", "budget_event"],
    )
    def test_none_breaks_the_path_of_money(self, plug, name, caplog):
        plug(lambda: 1 / 0, name)
        session = AgentBudget("$1").session()
        with session.open_call(CallRequest(model="gpt-4o-mini", prompt=Prompt(()))) as call:
            call.settle({"unreadable": 1})
        assert session.spent > 0
        assert f"failed in {name}" in caplog.text

    @pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
    @pytest.mark.parametrize("name", ["budget_usage", "budget_price"])
    def test_what_is_no_error_is_passed_on_and_the_call_is_charged(self, plug, name, error):
        def raises():
            raise error

        def run():
            with session.open_call(CallRequest(model="gpt-4o-mini", output_cap=9)) as call:
                plug(raises, name)
                call.settle(Receipt(Usage(1, 1), "o1") if name == "budget_price" else {"mute": 1})

        session = AgentBudget("$1").session()
        with pytest.raises(error):
            run()
        assert session.spent > 0
        assert session.reserved == 0

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_what_ends_a_program_is_passed_on_when_all_is_counted(self, plug, error):
        def budget_event():
            raise error

        plug(budget_event)
        with AgentBudget("$1").session() as outer, outer.child_session() as inner:
            call = inner.open_call(CallRequest(kind="tool", name="t", cost=5))
            with pytest.raises(error):
                call.settle()
        assert outer.spent_nanos == inner.spent_nanos == 5
        assert outer.totals.tool_calls == inner.totals.tool_calls == 1

    NEGATIVE = replace(Rates.of(1, 2), input=-1)

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            *(("budget_price", x) for x in ("1", 1, NEGATIVE, replace(NEGATIVE, input=math.nan))),
            ("budget_price", replace(Rates.of(1, 2), steps=((9, NEGATIVE),))),
            *(("budget_estimate", x) for x in ("1", -1, 1.5, True, math.nan, math.inf)),
            *(("budget_usage", x) for x in ("1", Receipt("1"), Receipt(Usage(1), 1))),
            *(("budget_usage", Receipt(Usage(x, 1))) for x in (-1, math.nan, 1.5)),
        ],
    )
    def test_what_is_no_answer_is_told_and_the_next_one_counts(self, plug, name, wrong, caplog):
        plug(lambda: wrong, name)
        session = AgentBudget("$1").session()
        call = session.open_call(CallRequest(model="gpt-4o-mini", prompt=Prompt(())))
        held = call.reservation.amounts.usd
        call.settle({"mute": 1})
        assert session.spent_nanos == held == 9_985_350  # as without a plugin
        assert f"answered {name} by" in caplog.text

    def test_what_listeners_raise_of_ours_is_not_passed_on(self, plug):
        def budget_event(event):
            raise AgentBudgetError("mine")

        plug(budget_event)
        AgentBudget("$1").session().track(cost=0.01)

    def test_what_is_raised_on_purpose_is(self, plug):
        def budget_price(request):
            raise UnknownModel(request.model)

        def budget_estimate():
            raise Unbounded("all of it")

        plug(budget_price)
        with pytest.raises(UnknownModel):
            lookup.rates("gpt-4o")
        plug(budget_estimate)
        with pytest.raises(Unbounded):
            AgentBudget("$1").session().open_call(CallRequest(model="gpt-4o"))

    def test_a_listener_that_raises_stops_no_other(self, plug):
        heard = []

        for listener in (lambda: heard.append(1), lambda: 1 / 0, lambda: heard.append(1)):
            plug(listener, "budget_event")
        session = AgentBudget("$1").session()
        session.track(cost=0.01)
        assert heard == [1, 1]
        assert session.spent == 0.01


class TestManager:
    def test_the_last_that_was_registered_is_asked_first_and_none_is_no_answer(self, plug):
        def budget_price(request):
            return request

        plug(lambda: 1 / 0, "budget_price")
        plug(budget_price)
        plug(lambda: None, "budget_price")
        assert hooks.first("budget_price", "asked") == "asked"

    def test_an_unregistered_plugin_is_not_asked(self):
        class Plugin:
            @hooks.hookimpl
            def budget_reserve(self, request):
                raise AssertionError

        plugin = Plugin()
        hooks.register(plugin)
        assert hooks.listening("budget_reserve")
        hooks.unregister(plugin)
        assert not hooks.listening("budget_reserve")
        assert hooks.first("budget_reserve", "asked") is None

    def test_what_is_no_hook_is_refused_and_leaves_nothing(self, plug):
        def budget_evnt(event):
            pass

        def budget_event(request, more):
            pass

        for wrong in (budget_evnt, budget_event):
            with pytest.raises(pluggy.PluginValidationError):
                plug(wrong)
        assert not any(plugin.where == "SimpleNamespace" for plugin in hooks.plugins())

    def test_one_that_would_have_to_be_awaited_is_refused(self, plug):
        async def budget_event(event):
            pass

        with pytest.raises(pluggy.PluginValidationError, match="not awaited"):
            plug(budget_event)
        assert not hooks.listening("budget_event")

    def test_unregistering_twice_is_once(self, plug):
        plugin = plug(lambda: None, "budget_event")
        hooks.unregister(plugin)
        hooks.unregister(plugin)

    def test_one_that_comes_while_another_thread_looks_is_heard(self, plug, monkeypatch):
        looking, plugged = threading.Event(), threading.Event()
        found = pluggy.HookCaller.get_hookimpls

        def slow(caller):
            impls = found(caller)
            if threading.current_thread() is thread:
                looking.set()
                plugged.wait(20)
            return impls

        thread = threading.Thread(target=hooks.listening, args=("budget_reserve",))
        manager._changed()
        with monkeypatch.context() as patched:
            patched.setattr(pluggy.HookCaller, "get_hookimpls", slow)
            thread.start()
            assert looking.wait(20)
            plug(lambda: None, "budget_reserve")
            plugged.set()
            thread.join()
        assert hooks.listening("budget_reserve")

    def test_so_are_its_models(self, plug):
        looking, plugged = threading.Event(), threading.Event()

        def slow(request):
            looking.set()
            plugged.wait(20)

        plug(slow, "budget_models")
        thread = threading.Thread(target=lookup.is_registered, args=("mine",))
        thread.start()
        assert looking.wait(20)
        plugged.set()
        plug(lambda request: request.register("mine", 1, 2), "budget_models")
        thread.join()
        assert lookup.is_registered("mine")

    def test_threads_may_register_at_the_same_time(self, monkeypatch):
        failed = []

        def come_and_go():
            for _ in range(30):
                plugin = types.SimpleNamespace(
                    budget_event=hooks.hookimpl(lambda: None),
                    budget_reserve=hooks.hookimpl(lambda: None),
                )
                try:
                    hooks.register(plugin)
                    hooks.plugins()
                    hooks.unregister(plugin)
                except BaseException as error:
                    failed.append(error)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert failed == []
        assert not hooks.listening("budget_event")

    def test_a_child_that_is_forked_meanwhile_may_register(self):
        over = threading.Event()

        def come_and_go():
            while not over.is_set():
                plugin = types.SimpleNamespace(budget_event=hooks.hookimpl(lambda: None))
                hooks.register(plugin)
                hooks.unregister(plugin)

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            for _ in range(10):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    hooks.register(types.SimpleNamespace(budget_event=hooks.hookimpl(lambda: None)))
                    os._exit(0 if hooks.listening("budget_event") else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            over.set()
            thread.join()

    def test_models_are_asked_for_again_when_plugins_change(self, plug):
        def budget_models(request):
            request.register("mine", 1, 2)

        plugin = plug(budget_models)
        assert lookup.rates("mine").input == 10**9
        hooks.unregister(plugin)
        with pytest.raises(UnknownModel):
            lookup.rates("mine")
        hooks.register(plugin)
        assert lookup.is_registered("mine-2026-01-01")

    def test_ours_are_plugged_in(self):
        ours = {plugin.name: plugin for plugin in hooks.plugins()}
        assert ours["budget_core.sdk.installing"].hooks == ("budget_guards",)
        assert ours["budget_core.sdk.installing"].source == "built in"
        assert ours["langchain"].source.startswith("budget-suite ")
        assert ours["langchain"].hooks == ("budget_dropin", "budget_usage")


def python(code, **environ):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


class TestInstalled:
    THEIRS = (
        "from budget_core.hooks import hookimpl\n"
        "@hookimpl\n"
        "def budget_estimate(request):\n    return 42\n"
    )
    ASK = (
        "from budget_core import hooks; print(hooks.first('budget_estimate', 1));"
        "print([(p.name, p.source, bool(p.problem)) for p in hooks.plugins() if 'theirs' in p.name]);"
        "print(hooks.listening('budget_guards'))"
    )

    @pytest.fixture
    def installed(self, tmp_path):
        """Install packages that are plugins, and ask them in a process of its own."""

        def ask(*codes, off="", name=None):
            entry = name
            for number, code in enumerate(codes):
                name = f"theirs{number}"
                (tmp_path / f"{name}.py").write_text(code)
                info = tmp_path / f"{name}-1.0.dist-info"
                info.mkdir()
                (info / "METADATA").write_text(
                    f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
                )
                (info / "entry_points.txt").write_text(f"[budget_core]\n{entry or name} = {name}\n")
            path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {self.ASK}"
            done = python(path, BUDGET_DISABLE_PLUGINS=off)
            return done.stdout.splitlines(), done.stderr

        return ask

    @pytest.mark.parametrize("off", ["", "1", "True", "other, theirs0"])
    def test_they_are_found_unless_switched_off(self, installed, off):
        (answer, listed, guards), _ = installed(self.THEIRS, off=off)
        assert answer == ("None" if off else "42")
        assert listed == f"[('theirs0', 'theirs0 1.0', {bool(off)})]"
        assert guards == "True"  # nobody goes unguarded for it

    def test_one_that_fails_stops_none_of_the_others(self, installed):
        wrong = self.THEIRS.replace("budget_estimate", "budget_estimat")
        (answer, listed, _), told = installed("import no_such_module", self.THEIRS, wrong)
        assert answer == "42"
        for name in ("theirs0", "theirs2"):
            assert f"{name!r} could not be loaded" in told
            assert f"('{name}', '{name} 1.0', True)" in listed

    def test_nor_does_one_that_ends_the_program(self, installed):
        (answer, listed, _), _ = installed("raise SystemExit(3)", self.THEIRS)
        assert answer == "42"
        assert "('theirs0', 'theirs0 1.0', True)" in listed

    def test_two_that_are_called_the_same_are_both_asked(self, installed):
        silent = self.THEIRS.replace("42", "None")
        (answer, listed, _), told = installed(silent, self.THEIRS, silent, name="theirs")
        assert (answer, told) == ("42", "")
        assert listed.count("False") == 3

    def test_a_package_whose_entry_points_cannot_be_read_hides_no_other(self, installed, tmp_path):
        broken = tmp_path / "broken-1.0.dist-info"
        broken.mkdir()
        (broken / "entry_points.txt").write_text("[console_scripts]\nthis is none\n")
        (answer, _, guards), told = installed(self.THEIRS)
        assert (answer, guards) == ("42", "True")
        assert "entry points" in told

    def test_one_may_use_the_core_while_it_is_imported(self, installed):
        uses = (
            "from budget_core import AgentBudget, listen\n"
            "listen(lambda event: None)\n"
            "AgentBudget('$1').session().track(cost='0.01')\n"
        )
        (answer, listed, _), told = installed(uses + self.THEIRS)
        assert (answer, told) == ("42", "")
        assert "('theirs0', 'theirs0 1.0', False)" in listed


class TestPriceFile:
    def test_models_are_registered_without_code(self, tmp_path):
        file = tmp_path / "prices.json"
        file.write_text('{"mine": [0.5, 1.5], "other": [1, 4, 0.1]}')
        code = (
            "from budget_core.money.prices.lookup import rates\n"
            "for model in ('mine', 'other-2026-01-01'):\n"
            "    price = rates(model)\n"
            "    print(price.input, price.output, price.cache_read)\n"
        )
        told = python(code, BUDGET_PRICES=str(file)).stdout.splitlines()
        assert told == ["500000000 1500000000 500000000", "1000000000 4000000000 100000000"]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"mine": 3}',
            '{"mine": [1]}',
            '{"mine": ["x", 1]}',
            '{"mine": "12"}',
            '{"mine": [1, 2, 3, 4]}',
            '{"mine": {"1": 1, "2": 2}}',
            '{"mine": [NaN, 1]}',
            "[" * 99_999,
        ],
    )
    def test_one_that_cannot_be_read_is_refused_before_a_call(
        self, tmp_path, monkeypatch, text, afresh
    ):
        file = tmp_path / "prices.json"
        file.write_text(text)
        monkeypatch.setenv("BUDGET_PRICES", str(file))
        with pytest.raises(InvalidCost, match=r"prices\.json"):
            AgentBudget("$1").session().open_call(LLM)

    @pytest.fixture
    def afresh(self):
        """Ask for models and prices anew, here and afterwards."""
        manager._changed()
        yield
        manager._changed()


class TestHouseRules:
    """They are read when the process begins."""

    ASK = (
        "from budget_core import AgentBudget, AgentBudgetError, CallRequest\n"
        "session = AgentBudget('$1').session()\n"
        "for model in ('gpt-4o-mini-2024-07-18', 'claude-haiku-4-5', 'o1'):\n"
        "    try:\n"
        "        with session.open_call(CallRequest(model=model, input_tokens=1)) as call:\n"
        "            print(model, call.cap)\n"
        "    except AgentBudgetError as error:\n"
        "        print(type(error).__name__, error)\n"
        "print([event.data['reason'] for event in session.events() if event.kind == 'refused'])\n"
    )

    def test_other_models_are_refused_and_answers_are_short(self):
        rules = {"BUDGET_MODELS": "GPT-4o-mini, claude-haiku-*", "BUDGET_MAX_OUTPUT_TOKENS": "77"}
        first, second, refused, events = python(self.ASK, **rules).stdout.splitlines()
        assert (first, second) == ("gpt-4o-mini-2024-07-18 77", "claude-haiku-4-5 77")
        assert refused.startswith("ModelNotAllowed")
        assert "'o1'" in refused
        assert events == "['ModelNotAllowed']"

    @pytest.mark.parametrize(
        ("rules", "model", "allowed"),
        [
            ("claude-3-5-*", "anthropic/claude-3-5-haiku-20241022", True),
            ("Claude-3.5-*", "claude-3.5-haiku", True),
            ("claude-haiku-3-5", "claude-3-5-haiku-20241022", True),
            ("openai/*", "OpenAI/gpt-4o", True),
            ("gpt-4o", "gpt-4o-mini", False),
            ("gpt-4o", "ft:gpt-4o:mine::id", False),
            ("*", "", True),
            ("gpt-*", "", False),  # as with a prompt that is stored at the provider
        ],
    )
    def test_names_are_told_apart(self, monkeypatch, rules, model, allowed):
        monkeypatch.setattr(house_rules, "_models", tuple(rules.lower().split(", ")))
        assert house_rules._allows(model) is allowed

    def test_a_call_without_a_model_is_none_of_those_that_are_allowed(self):
        code = self.ASK.replace("'o1'", "''").replace("'$1'", "'$1', unknown_model='allow'")
        told = python(code, BUDGET_MODELS="gpt-*, claude-*").stdout.splitlines()
        assert told[2].startswith("ModelNotAllowed")

    def test_a_length_that_is_none_is_refused_before_a_call(self):
        answers = python(self.ASK, BUDGET_MAX_OUTPUT_TOKENS="many").stdout.splitlines()
        assert [answer.partition(" ")[0] for answer in answers[:3]] == ["InvalidBudget"] * 3
        assert "BUDGET_MAX_OUTPUT_TOKENS takes a number of tokens" in answers[0]

    def test_without_them_nobody_is_asked(self):
        assert not hooks.listening("budget_reserve")


def test_a_response_that_a_plugin_misreads_is_unknown(plug):
    def budget_usage():
        return "nonsense"

    plug(budget_usage)
    assert read_receipt({"text": 1}) == Receipt(None)
