"""`AdapterConformance`: what holds of every adapter, as tests for its author to inherit."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import pytest

from budget_core import hooks
from budget_core.budget import AgentBudget
from budget_core.errors import BudgetExhausted
from budget_core.money import to_usd
from budget_core.testing.conformance.books import balanced, expect
from budget_core.testing.conformance.job import Job
from budget_core.testing.conformance.model import (
    ANSWER,
    FULL,
    SCRAP,
    Prices,
    may_use_tools,
    restless,
    searching,
)
from budget_core.testing.conformance.tools import broken
from budget_core.testing.gate import Gate
from budget_core.testing.provider import Provider
from budget_core.testing.reply import Incoming, Reply

if TYPE_CHECKING:
    from budget_core.session import BudgetSession

WAYS: Final = ("run", "arun", "stream", "astream")
FEATURES: Final = {
    "last_word": "test_the_last_word_is_paid_from_the_reserve",
    "agents": "test_an_agent_is_stopped_at_its_own_limit",
    "tools": "test_tools_are_counted_and_paid_for",
}
CROWD: Final = 4
"""Agents at once."""
TOOL_COST: Final = 10_000_000


class AdapterConformance:
    """The bill is what was spent, nothing is sent that is not paid for, and nothing stays held.

    An author implements the ways in which the adapter runs an agent, and says what it lacks:

    >>> class TestMyAdapter(AdapterConformance):
    ...     lacks = {"stream": "its framework streams asynchronously only"}
    ...
    ...     def run(self, job):
    ...         with MyAdapter(**job.settings, on_exhausted=job.on_exhausted) as adapter:
    ...             return adapter.run(agent_for(job), job.task)
    ...
    ...     async def arun(self, job): ...
    ...
    ...     async def astream(self, job): ...

    What is lacking is not tested, so it has to be named: a way of running ("run", "arun", "stream",
    "astream") or a feature ("last_word", "agents", "tools"). Asynchronous ways need no plugin of
    pytest; each run has an event loop of its own.

    Attributes:
        lacks: what the adapter cannot do, and why.
        model: the name of the model; any that the framework puts up with.
    """

    lacks: ClassVar[Mapping[str, str]] = {}
    model: ClassVar[str] = "conformance-model"

    def run(self, job: Job) -> str:
        """Run an agent and return what it says at last; let a refusal out."""
        raise NotImplementedError

    async def arun(self, job: Job) -> str:
        """Do what `run` does, awaiting."""
        raise NotImplementedError

    def stream(self, job: Job) -> Iterator[Any]:
        """Run an agent, and yield the parts of what it says, whatever they are."""
        raise NotImplementedError

    def astream(self, job: Job) -> AsyncIterator[Any]:
        """Do what `stream` does, as an asynchronous generator."""
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unknown = cls.lacks.keys() - {*WAYS, *FEATURES}
        if unknown or not all(cls.lacks.values()):
            raise TypeError(
                f"{cls.__name__}.lacks names some of {', '.join((*WAYS, *FEATURES))}, and says "
                f"why of each; got {dict(cls.lacks)}"
            )
        for way in WAYS:
            if (getattr(cls, way) is getattr(AdapterConformance, way)) != (way in cls.lacks):
                raise TypeError(
                    f"{cls.__name__} has to implement {way}(), or else to say in its `lacks` why "
                    "the adapter cannot run an agent in this way."
                )
        for feature in FEATURES.keys() & cls.lacks.keys():
            setattr(cls, FEATURES[feature], None)
        for test, ways in _LIMITED.items():
            if not set(ways) - cls.lacks.keys():
                setattr(cls, test, None)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Try each way of running that the adapter has."""
        if "way" in metafunc.fixturenames:
            ways = _LIMITED.get(metafunc.function.__name__, WAYS)
            metafunc.parametrize("way", [way for way in ways if way not in self.lacks])

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """A provider that has billed nothing, and has a price for the model."""
        with Provider() as provider, self._priced(provider, 2.5):
            yield provider

    @pytest.fixture
    def pennies(self, provider: Provider) -> Iterator[Provider]:
        """A provider with free input, so that a call costs what it holds: its longest answer."""
        with self._priced(provider, 0):
            yield provider

    # -- what is spent -----------------------------------------------------------------------

    def test_the_bill_is_what_was_spent(self, provider: Provider, way: str) -> None:
        """Three calls of a model, each charged once, and to the nano."""
        provider.respond(searching(3))
        session = _session("$1")
        said = self.carry_out(way, self.job(provider, session))
        expect(said in (None, ANSWER.text), f"The agent's answer is lost: {said!r}")
        _counted(provider, session, 3)
        balanced(provider, session)

    def test_silence_is_not_free(self, pennies: Provider, way: str) -> None:
        """A call whose usage nobody tells is charged as it was held."""
        pennies.respond(searching(2, usage=False))
        session = _session("$1")
        with contextlib.suppress(Exception):  # some SDKs cannot do without
            self.carry_out(way, self.job(pennies, session))
        balanced(pennies, session, exact=False)
        held, spent = pennies.requests * FULL, session.spent_nanos
        expect(
            spent == held,
            f"Calls that held {held} nanos told no usage, and {spent} were charged: settle(None) "
            "charges what was held.",
        )

    def test_tools_are_counted_and_paid_for(self, provider: Provider, way: str) -> None:
        """Two calls of a tool that costs a cent."""
        provider.respond(searching(3))
        session = _session("$1")
        job = self.job(provider, session, tool_costs={"search": to_usd(TOOL_COST)})
        self.carry_out(way, job)
        balanced(provider, session, tools=2 * TOOL_COST)
        counted = session.report()["breakdown"]["tools"]["calls"]
        expect(counted == 2, f"Two calls of a tool were counted as {counted}.")  # noqa: PLR2004

    # -- what is refused ---------------------------------------------------------------------

    @pytest.mark.parametrize("calls", [0, 2])
    def test_the_call_that_money_does_not_buy_is_not_sent(
        self, pennies: Provider, way: str, calls: int
    ) -> None:
        """A budget for so many calls, and an agent that would go on for ever."""
        pennies.respond(restless([]))
        session = _session(calls * FULL + SCRAP)
        self._refused(way, self.job(pennies, session))
        _counted(pennies, session, calls)
        balanced(pennies, session)

    def test_a_child_session_spends_its_parents_money(self, pennies: Provider, way: str) -> None:
        """A child's own limit holds, and what it spends is the parent's as well."""
        pennies.respond(restless([]))
        parent = _session(5 * FULL)
        child = parent.child_session(to_usd(FULL + SCRAP))
        self._refused(way, self.job(pennies, child))
        _counted(pennies, child, 1)
        balanced(pennies, child)
        balanced(pennies, parent)

    def test_an_agent_is_stopped_at_its_own_limit(self, pennies: Provider, way: str) -> None:
        """An agent with a limit of its own, in a session that has more."""
        pennies.respond(restless([]))
        session = _session(5 * FULL)
        job = self.job(pennies, session)
        self._refused(way, self.job(pennies, session, agents={job.agent: to_usd(FULL + SCRAP)}))
        _counted(pennies, session, 1)
        balanced(pennies, session)
        agents = session.report()["breakdown"]["agents"]["by_agent"]
        expect(
            agents == {job.agent: session.spent},
            f"The report is to say what {job.agent!r} spent, and says {agents}: name the agent in "
            "CallRequest(agent=...).",
        )

    def test_the_last_word_is_paid_from_the_reserve(self, pennies: Provider, way: str) -> None:
        """An agent that is out of money answers once more, without tools, within the limit."""
        asked: list[Incoming] = []
        pennies.respond(restless(asked))
        session = _session(3 * FULL + SCRAP, finalization_reserve=f"${to_usd(FULL)}")
        said = self.carry_out(way, self.job(pennies, session, on_exhausted="finalize"))
        expect(said in (None, ANSWER.text), f"The last word is not what the agent says: {said!r}")
        _counted(pennies, session, 3)
        expect(not may_use_tools(asked[-1]), "The last call offers tools: it is to be an answer.")
        balanced(pennies, session)

    def test_agents_at_once_share_one_limit(self, pennies: Provider, way: str) -> None:
        """Several agents run at the same time on money for half of what they want."""
        gate = Gate(CROWD)
        pennies.respond(restless([], gate=gate))
        calls = CROWD + CROWD // 2
        session = _session(calls * FULL + SCRAP)
        job = self.job(pennies, session)
        for error in self._crowd(way, job):
            _is_refusal(error)
        expect(not gate.timed_out, f"{CROWD} agents were not at work at the same time.")
        _counted(pennies, session, calls)
        balanced(pennies, session)

    # -- how it ends -------------------------------------------------------------------------

    def test_an_error_of_the_provider_leaves_nothing_held(
        self, provider: Provider, way: str
    ) -> None:
        """The second call fails, and so does whatever tries it again."""
        provider.respond(lambda incoming: None if incoming.index else searching(2)(incoming))
        provider.default = Reply("out of order", status=500)
        session = _session("$1")
        with contextlib.suppress(Exception):  # the framework's own way of ending
            self.carry_out(way, self.job(provider, session))
        expect(provider.requests > 1, "The agent was stopped before the provider failed.")
        balanced(provider, session)

    def test_an_error_in_a_tool_leaves_nothing_held(self, provider: Provider, way: str) -> None:
        """The tool raises; the framework tells the model, or ends."""
        provider.respond(lambda incoming: ANSWER if incoming.index else searching(2)(incoming))
        session = _session("$1")
        with contextlib.suppress(Exception):
            self.carry_out(way, self.job(provider, session, tool=broken()))
        balanced(provider, session)

    def test_a_run_that_is_cancelled_leaves_nothing_held(
        self, provider: Provider, way: str
    ) -> None:
        """The task is cancelled while it waits for the second answer."""
        held = threading.Event()
        answer = searching(2)
        provider.respond(
            lambda incoming: Reply("too late", gate=held) if incoming.index else answer(incoming)
        )
        session = _session("$1")

        async def cancel() -> None:
            task = asyncio.ensure_future(self._awaited(way, self.job(provider, session)))
            await asyncio.to_thread(provider.wait_for_requests, 2)
            task.cancel()
            await asyncio.wait({task})

        try:
            asyncio.run(cancel())
        finally:
            held.set()
        balanced(provider, session, exact=False)

    def test_a_stream_that_is_broken_off_leaves_nothing_held(
        self, provider: Provider, way: str
    ) -> None:
        """Nobody reads on after the first part of the answer."""
        provider.respond(lambda _: Reply(output_tokens=60, chunk_delay=0.005))
        session = _session("$1")
        job = self.job(provider, session)
        if way == "stream":
            with contextlib.closing(cast("Any", self.stream(job))) as parts:
                next(part for part in parts if provider.requests)
        else:
            asyncio.run(self._first_part(job))
        gc.collect()  # where a framework leaves the rest of a stream to that
        balanced(provider, session, exact=False)

    # -- inside ------------------------------------------------------------------------------

    def job(self, provider: Provider, session: BudgetSession, **more: Any) -> Job:
        """Return what is to be done."""
        return Job(provider=provider, session=session, model=self.model, **more)

    def carry_out(self, way: str, job: Job) -> str | None:
        """Do a job in one of the ways; return what was said, where the way tells it."""
        if way == "run":
            return self.run(job)
        if way == "stream":
            for _ in self.stream(job):
                pass
            return None
        return asyncio.run(self._awaited(way, job))

    async def _awaited(self, way: str, job: Job) -> str | None:
        if way == "arun":
            return await self.arun(job)
        async for _ in self.astream(job):
            pass
        return None

    async def _first_part(self, job: Job) -> None:
        async with contextlib.aclosing(cast("Any", self.astream(job))) as parts:
            async for _ in parts:
                if job.provider.requests:
                    break

    def _refused(self, way: str, job: Job) -> None:
        outcome: object
        try:
            outcome = self.carry_out(way, job)
        except Exception as error:  # noqa: BLE001  to tell of what came in its place
            outcome = error
        _is_refusal(outcome)

    def _crowd(self, way: str, job: Job) -> list[object]:
        """Return what came of several runs at once: errors or texts."""
        if way in ("run", "stream"):
            with ThreadPoolExecutor(CROWD) as pool:
                futures = [pool.submit(self.carry_out, way, job) for _ in range(CROWD)]
            return [future.exception() or future.result() for future in futures]

        async def gathered() -> list[Any]:
            runs: list[Awaitable[Any]] = [self._awaited(way, job) for _ in range(CROWD)]
            return await asyncio.gather(*runs, return_exceptions=True)

        return cast("list[object]", asyncio.run(gathered()))

    @contextlib.contextmanager
    def _priced(self, provider: Provider, price: float) -> Iterator[None]:
        prices = Prices(self.model, price)
        prices.tell(provider)
        hooks.register(prices)
        try:
            yield
        finally:
            hooks.unregister(prices)


_LIMITED: Final = {
    "test_a_run_that_is_cancelled_leaves_nothing_held": ("arun", "astream"),
    "test_a_stream_that_is_broken_off_leaves_nothing_held": ("stream", "astream"),
}
"""Tests of some ways only."""


def _session(budget: str | int, **options: Any) -> BudgetSession:
    """Open a session with a limit: dollars as a text, or nanos."""
    limit = budget if isinstance(budget, str) else to_usd(budget)
    return AgentBudget(limit, parent=None, max_repeated_calls=None, **options).session()


def _counted(provider: Provider, session: BudgetSession, calls: int) -> None:
    """Check how many calls there were, as the provider counts and as the report does."""
    expect(
        provider.requests == calls,
        f"The budget buys {calls} calls of the model, and {provider.requests} were sent.",
    )
    reported = session.report()["breakdown"]["llm"]["calls"]
    expect(reported == calls, f"{calls} calls were sent, and the report counts {reported}.")


def _is_refusal(outcome: object) -> None:
    if isinstance(outcome, BudgetExhausted):
        return
    cause = outcome if isinstance(outcome, BaseException) else None
    raise AssertionError(
        f"A run without money ends with BudgetExhausted; this one with {outcome!r}."
    ) from cause
