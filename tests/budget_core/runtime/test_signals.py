"""What a signal's handler raises arrives, wherever in our code the signal came."""

import functools
import gc
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from budget_core import AgentBudget, CallRequest, Usage, hookimpl, hooks, listen
from budget_core.calls.responses import read_receipt
from budget_core.runtime.signals import is_from_signal

INTERRUPTED = Path(__file__).parent / "interrupted.py"
TIMES = 200


class TooLong(Exception):
    """What a time limit raises."""


@pytest.mark.parametrize("name", ["INT", "ALRM", "USR1"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.no_cover
def test_all_arrive_in_a_busy_run_with_many_collections(name):
    run = subprocess.run(  # noqa: S603
        [sys.executable, str(INTERRUPTED), str(TIMES), name],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.stdout == f"{TIMES} of {TIMES}\n", run.stderr[-2_000:]


def test_no_callback_of_ours_is_called_by_the_collector():
    script = "import gc, budget_core; budget_core.AgentBudget('$1').session(); print(gc.callbacks)"
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


class TestCollections:
    """No Python code runs in a collection because of us."""

    @pytest.fixture
    def traced(self):
        """Collect garbage, and return the Python functions that ran meanwhile."""
        gc.collect()
        gc.disable()

        def collect():
            ran = []
            sys.setprofile(
                lambda frame, kind, _: (
                    kind == "call"
                    and "budget_" in frame.f_code.co_filename  # others have callbacks of their own
                    and ran.append(frame.f_code.co_qualname)
                )
            )
            try:
                gc.collect()
            finally:
                sys.setprofile(None)
            return ran

        yield collect
        gc.enable()

    def test_of_sessions(self, traced):
        def spend():
            session = AgentBudget("$1").session()
            session.itself = session
            child = session.child_session("$0.50")
            child.itself = child
            child.open_call(CallRequest(model="gpt-4o", input_tokens=1)).settle(Usage(1, output=1))
            return weakref.ref(child)

        child = spend()
        assert traced() == []
        assert child() is None

    def test_of_streams_that_nobody_ended(self, traced):
        session = AgentBudget("$1").session()
        stream = session.wrap(iter([{"model": "gpt-4o"}, {}]))
        next(stream)
        stream.itself = stream
        del stream
        assert traced() == []
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_of_tools_that_nobody_finished(self, traced):
        session = AgentBudget("$1").session()

        @session.track_tool(cost=0.25)
        def search():
            yield box

        box = []
        results = search()
        next(results)
        box.append(results)
        del results
        box = None
        assert traced() == []
        assert session.spent == 0.25


class TestIsolation:
    """What listeners and plugins raise is logged, what a signal raises in them is not."""

    @pytest.fixture(params=["function", "partial", "object"])
    def alarm(self, request):
        def too_long(*_):
            raise TooLong

        class Handler:
            def __call__(self, number, frame):
                too_long(number, frame)

        handlers = {"function": too_long, "partial": functools.partial(too_long, 1)}
        before = signal.signal(signal.SIGUSR1, handlers.get(request.param, Handler()))
        yield lambda *_: signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)

    def test_in_a_budgets_listener(self, alarm):
        session = AgentBudget("$1", listeners=[alarm]).session()
        with pytest.raises(TooLong):
            session.track(cost=0.1)
        assert session.spent == 0.1

    def test_in_everybodys_listener(self, alarm):
        end = listen(alarm)
        try:
            with pytest.raises(TooLong):
                AgentBudget("$1").session().track(cost=0.1)
        finally:
            end()

    def test_in_a_plugin(self, alarm):
        class Plugin:
            @hookimpl
            def budget_estimate(self, request):
                alarm()

        plugin = Plugin()
        hooks.register(plugin)
        try:
            with pytest.raises(TooLong):
                AgentBudget("$1").session().open_call(CallRequest(model="gpt-4o"))
        finally:
            hooks.unregister(plugin)

    def test_in_a_foreign_objects_attribute(self, alarm):
        class Response:
            @property
            def usage(self):
                return alarm()

        with pytest.raises(TooLong):
            read_receipt(Response())

    def test_in_what_a_finalizer_asked_for(self, alarm):
        session = AgentBudget("$1", listeners=[alarm]).session()

        @session.track_tool(cost=0.25)
        def search():
            yield

        next(search())  # dropped half-way
        with pytest.raises(TooLong):
            _ = session.spent
        assert session.spent == 0.25


def test_an_error_of_its_own_is_from_no_signal():
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    assert not is_from_signal(caught.value)


def test_a_thread_gets_no_signals():
    found = []
    thread = threading.Thread(target=lambda: found.append(is_from_signal(ValueError())))
    thread.start()
    thread.join()
    assert found == [False]
