import inspect
import subprocess
import sys

import pytest

from budget_core import AgentBudget, MemoryLedger, hooks, init
from budget_core.call import CallRequest
from budget_core.errors import UnknownModel
from budget_core.hooks import hookspecs
from budget_core.prompts import Prompt
from budget_core.rates import Rates

SPECS = {
    name: value
    for name, value in vars(hookspecs).items()
    if name.startswith("budget_") and inspect.isfunction(value)
}


@pytest.fixture
def plugged():
    added = []

    def plug(plugin):
        hooks.register(plugin)
        added.append(plugin)
        return plugin

    yield plug
    for plugin in added:
        hooks.unregister(plugin)


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_documented(name):
    assert inspect.getdoc(SPECS[name])
    (argument,) = inspect.signature(SPECS[name]).parameters.values()
    assert argument.annotation


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_tested_here(name):
    method = f"test_{name}"
    assert any(hasattr(case, method) for case in (TestEach,)), f"write {method}"


@pytest.mark.parametrize("name", sorted(SPECS.keys() - {"budget_dropin"}))  # ours listen
def test_without_a_plugin_nobody_listens(name):
    assert not hooks.listening(name)
    assert hooks.first(name, object()) is None


class TestEach:
    def test_budget_price(self, plugged):
        class Plugin:
            @hooks.hookimpl
            def budget_price(self, request):
                return Rates.of(1, 2) if request.model == "mine" else None

        plugged(Plugin())
        session = AgentBudget("$1").session()
        call = session.open_call(CallRequest(model="mine", input_tokens=1_000, output_cap=1_000))
        assert call.reservation.amounts.usd == 3_000_000
        call.release()
        with pytest.raises(UnknownModel):
            session.open_call(CallRequest(model="nosuch"))

    def test_budget_ledger(self, plugged):
        mine = MemoryLedger()

        class Plugin:
            @hooks.hookimpl
            def budget_ledger(self, request):
                return mine if request.url.startswith("mine://") else None

        plugged(Plugin())
        assert AgentBudget("$1", ledger="mine://here").session().ledger is mine

    def test_budget_estimate(self, plugged):
        class Plugin:
            @hooks.hookimpl
            def budget_estimate(self, request):
                return 42 if request.model == "gpt-4o-mini" and request.messages else None

        plugged(Plugin())
        prompt = Prompt([{"role": "user", "content": "x" * 5_000}])
        call = (
            AgentBudget("$1").session().open_call(CallRequest(model="gpt-4o-mini", prompt=prompt))
        )
        call.release()
        assert call.quote.input_tokens == 42

    def test_budget_event(self, plugged):
        class Plugin:
            def __init__(self):
                self.heard = []

            @hooks.hookimpl
            def budget_event(self, event):
                self.heard.append((event.session_id, event.kind))

        plugin = plugged(Plugin())
        with AgentBudget("$1").session("s") as session:
            session.track(cost=0.01)
        assert ("s", "call") in plugin.heard

    def test_budget_dropin(self, plugged):
        ended = []

        class Plugin:
            @hooks.hookimpl
            def budget_dropin(self, request):
                return lambda: ended.append((request.session.id, request.agents))

        plugged(Plugin())
        with init("$1", name="s", agents={"writer": "$0.50"}):
            assert ended == []
        assert ended == [("s", {"writer": "$0.50"})]


class TestManager:
    def test_the_first_answer_wins_and_none_is_no_answer(self, plugged):
        class One:
            @hooks.hookimpl
            def budget_price(self):
                return None

        class Two:
            @hooks.hookimpl
            def budget_price(self, request):
                return request

        plugged(Two())
        plugged(One())
        assert hooks.first("budget_price", "asked") == "asked"

    def test_a_listener_that_raises_is_logged_and_stops_no_other(self, plugged, caplog):
        heard = []

        class Deaf:
            @hooks.hookimpl
            def budget_event(self, event):
                raise RuntimeError("no")

        class Listener:
            @hooks.hookimpl
            def budget_event(self):
                heard.append(1)

        plugged(Listener())
        plugged(Deaf())
        plugged(Listener())
        session = AgentBudget("$1").session()
        session.track(cost=0.01)
        assert heard == [1, 1]
        assert session.spent == 0.01
        assert "budget_event" in caplog.text

    def test_an_unregistered_plugin_is_not_asked(self, plugged):
        class Plugin:
            @hooks.hookimpl
            def budget_price(self, request):
                raise AssertionError

        plugin = Plugin()
        hooks.register(plugin)
        hooks.unregister(plugin)
        assert hooks.first("budget_price", "asked") is None

    @pytest.fixture
    def installed(self, tmp_path):
        """Install packages that are plugins, and ask them in a process of its own."""

        def ask(*codes, off=""):
            for number, code in enumerate(codes):
                name = f"theirs{number}"
                (tmp_path / f"{name}.py").write_text(code)
                info = tmp_path / f"{name}-1.0.dist-info"
                info.mkdir()
                (info / "METADATA").write_text(
                    f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
                )
                (info / "entry_points.txt").write_text(f"[budget_core]\n{name} = {name}\n")
            script = "from budget_core import hooks; print(hooks.first('budget_price', 1))"
            path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"
            return subprocess.run(  # noqa: S603
                [sys.executable, "-c", path],
                env={"BUDGET_DISABLE_PLUGINS": off, "PYTHONPATH": ":".join(filter(None, sys.path))},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )

        return ask

    THEIRS = (
        "from budget_core.hooks import hookimpl\n"
        "@hookimpl\n"
        "def budget_price(request):\n    return 'theirs'\n"
    )

    @pytest.mark.parametrize("off", ["", "1"])
    def test_installed_plugins_are_found_unless_switched_off(self, installed, off):
        assert installed(self.THEIRS, off=off).stdout.strip() == ("None" if off else "theirs")

    def test_one_that_cannot_be_imported_stops_none_of_the_others(self, installed):
        done = installed("import no_such_module", self.THEIRS)
        assert done.stdout.strip() == "theirs"
        assert "'theirs0' could not be loaded" in done.stderr
