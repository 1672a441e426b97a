"""How adapters join `init`: whichever framework an agent is one of, its limit is one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest, hooks, init
from budget_core.frameworks import AgentIntegration, join, joining
from budget_core.hooks import hookimpl

REQUEST = CallRequest(kind="tool", name="search", cost=60_000_000)


class First(AgentIntegration):
    """An adapter."""


class Second(AgentIntegration):
    """Another one, which knows agents by their names in capitals."""

    def __init__(self, budget=None, *, agents=None, **options):
        named = {name.upper(): limit for name, limit in (agents or {}).items()}
        super().__init__(budget, agents=named, **options)


class Plugin:
    """Lets both join, each for a framework that is imported already."""

    @hookimpl
    def budget_dropin(self, request):
        ends = [
            join(request, framework=framework, adapter=f"{__name__}:{front}")
            for framework, front in (("json", "First"), ("csv", "Second"))
        ]
        return lambda: [end() for end in ends]


@pytest.fixture(autouse=True)
def plugin():
    joined = Plugin()
    hooks.register(joined)
    yield
    hooks.unregister(joined)
    assert joining._agents == {}


def test_an_agent_has_one_limit_in_two_frameworks():
    with init("$1", agents={"writer": "$0.10"}):
        first, second = First.active(), Second.active()
        assert first.session_of("writer") is second.session_of("WRITER")
        first.session_of("writer").open_call(REQUEST).finish()
        with pytest.raises(BudgetExhausted):
            second.session_of("WRITER").open_call(REQUEST)
        assert second.session.spent == 0.06


def test_in_two_sessions_it_has_two():
    with init("$1", agents={"writer": "$0.10"}):
        outer = First.active().session_of("writer")
        with init("$0.50", agents={"writer": "$0.05"}):
            inner = First.active().session_of("writer")
            assert (outer.limit, inner.limit) == (0.1, 0.05)
            assert Second.active().session_of("WRITER") is inner


def test_whoever_joins_at_once_finds_the_same_sessions():
    with AgentBudget("$1").session() as session:
        request = hooks.DropinRequest(session, {"writer": "$0.10"})
        gate = threading.Barrier(8)

        def open_them(_):
            gate.wait()
            return joining._shared(request)["writer"]

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(open_them, range(8)))) == 1
        assert len(session.children()) == 1
        joining._agents.pop(session)
