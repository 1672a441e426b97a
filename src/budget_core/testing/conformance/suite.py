"""`AdapterConformance`: what holds of every adapter, as tests for its author to inherit."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from budget_core.money.usd import to_usd
from budget_core.session.budget import AgentBudget
from budget_core.testing.conformance.adapter import Adapter, needs
from budget_core.testing.conformance.books import balanced, counted, expect, refused
from budget_core.testing.conformance.job import AGENT
from budget_core.testing.conformance.model import (
    ANSWER,
    FULL,
    SCRAP,
    may_use_tools,
    restless,
    searching,
    verbose,
)
from budget_core.testing.conformance.tools import broken
from budget_core.testing.gate import Gate
from budget_core.testing.reply import Incoming, Reply

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession
    from budget_core.testing.provider import Provider

CROWD: Final = 4
"""Agents at once."""
TOOL_COST: Final = 10_000_000
"""Nano-dollars."""


class AdapterConformance(Adapter, abstract=True):
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
    "astream") or a feature ("last_word", "agents", "tools"; "whole_answers" in place of those that
    the money cuts, and "whole_streams": a last word after one that was streamed). Asynchronous ways
    need no plugin of pytest; each run has an event loop of its own. A base that its subclasses are
    to complete is a ``class Mine(AdapterConformance, abstract=True)``.

    Attributes:
        lacks: what the adapter cannot do, and why.
        model: the name of the model; any that the framework puts up with.
    """

    # -- what is spent -----------------------------------------------------------------------

    def test_the_bill_is_what_was_spent(self, provider: Provider, way: str) -> None:
        """Three calls of a model, each charged once, and to the nano."""
        provider.respond(searching(3))
        session = _session("$1")
        said = self.carry_out(way, self.job(provider, session))
        expect(said in (None, ANSWER.text), f"The agent's answer is lost: {said!r}")
        counted(provider, session, 3)
        balanced(provider, session)

    def test_silence_is_not_free(self, pennies: Provider, way: str) -> None:
        """A call whose usage is not told is charged as it was held."""
        pennies.respond(searching(2, usage=False))
        session = _session("$1")
        self.outcomes(way, self.job(pennies, session))  # or errors: some SDKs cannot do without
        balanced(pennies, session, exact=False)
        held, spent = pennies.requests * FULL, session.spent_nanos
        expect(
            spent == held,
            f"Calls that held {held} nanos told no usage, and {spent} were charged: settle(None) "
            "charges what was held.",
        )

    @needs("tools")
    def test_tools_are_counted_and_paid_for(self, provider: Provider, way: str) -> None:
        """Two calls of a tool that costs a cent."""
        provider.respond(searching(3))
        session = _session("$1")
        job = self.job(provider, session, tool_costs={"search": to_usd(TOOL_COST)})
        self.carry_out(way, job)
        balanced(provider, session, tools=2 * TOOL_COST)
        calls = session.report()["breakdown"]["tools"]["calls"]
        expect(calls == 2, f"Two calls of a tool were counted as {calls}.")  # noqa: PLR2004

    # -- what is refused ---------------------------------------------------------------------

    @pytest.mark.parametrize("calls", [0, 2])
    def test_the_call_that_money_does_not_buy_is_not_sent(
        self, pennies: Provider, way: str, calls: int
    ) -> None:
        """A budget for so many calls, and an agent that would go on for ever."""
        pennies.respond(restless([]))
        session = _session(calls * FULL + SCRAP)
        refused(*self.outcomes(way, self.job(pennies, session)))
        counted(pennies, session, calls)
        balanced(pennies, session)

    def test_a_child_session_spends_its_parents_money(self, pennies: Provider, way: str) -> None:
        """A child's own limit holds, and what it spends is the parent's as well."""
        pennies.respond(restless([]))
        parent = _session(5 * FULL)
        child = parent.child_session(to_usd(FULL + SCRAP))
        refused(*self.outcomes(way, self.job(pennies, child)))
        counted(pennies, child, 1)
        balanced(pennies, child)
        balanced(pennies, parent)

    @needs("agents")
    def test_an_agent_is_stopped_at_its_own_limit(self, pennies: Provider, way: str) -> None:
        """An agent with a limit of its own, in a session that has more."""
        pennies.respond(restless([]))
        session = _session(5 * FULL)
        job = self.job(pennies, session, agents={AGENT: to_usd(FULL + SCRAP)})
        refused(*self.outcomes(way, job))
        counted(pennies, session, 1)
        balanced(pennies, session)
        agents = session.report()["breakdown"]["agents"]["by_agent"]
        expect(
            agents.get(AGENT) == session.spent,
            f"The report is to say what {AGENT!r} spent, and says {agents}: name the agent in "
            "CallRequest(agent=...).",
        )

    @needs("last_word")
    def test_the_last_word_is_paid_from_the_reserve(self, pennies: Provider, way: str) -> None:
        """An agent that is out of money answers once more, without tools, within the limit."""
        asked: list[Incoming] = []
        pennies.respond(restless(asked))
        session = _session(3 * FULL + SCRAP, finalization_reserve=f"${to_usd(FULL)}")
        said = self.carry_out(way, self.job(pennies, session, on_exhausted="finalize"))
        expect(said in (None, ANSWER.text), f"The last word is not what the agent says: {said!r}")
        expect(len(asked) in (2, 3), f"Two calls and a last word, or less; not {len(asked)}.")
        counted(pennies, session, len(asked))
        expect(not may_use_tools(asked[-1]), "The last call offers tools: it is to be an answer.")
        balanced(pennies, session)

    @needs("whole_answers")
    @pytest.mark.parametrize(("asks", "share"), [("tool", 0.4), ("text", 0.7)])
    @pytest.mark.parametrize("on_exhausted", ["raise", "finalize"])
    def test_an_answer_that_the_money_cuts_is_none(
        self,
        pennies: Provider,
        way: str,
        on_exhausted: Literal["raise", "finalize"],
        asks: Literal["tool", "text"],
        share: float,
    ) -> None:
        """An agent does not go on with a part of an answer: it has its last word, or is refused."""
        pennies.respond(verbose(asks))
        session = _session(int((1 + share) * FULL), finalization_reserve=f"${to_usd(FULL)}")
        job = self.job(pennies, session, on_exhausted=on_exhausted)
        streams = "whole_streams" in self.lacks and way in ("stream", "astream")
        if on_exhausted == "raise" or "last_word" in self.lacks or streams:
            refused(*self.outcomes(way, job))
            counted(pennies, session, 1)
        else:
            said = self.carry_out(way, job)
            expect(said in (None, ANSWER.text), f"The agent ends with what was cut: {said!r}")
            counted(pennies, session, 1 + session.report()["truncated_answers"])
        balanced(pennies, session)
        report = session.report()
        cut, used = report["truncated_answers"], report["breakdown"]["tools"]["calls"]
        expect(cut <= 1, f"One answer was cut, and the report counts {cut}.")
        expect(not used, "A tool was called with a part of what the model wrote.")
        expect(session.exhausted, "The session is not exhausted.")

    def test_agents_at_once_share_one_limit(self, pennies: Provider, way: str) -> None:
        """Several agents run at the same time on money for half of what they want."""
        gate = Gate(CROWD)
        pennies.respond(restless([], gate=gate))
        calls = CROWD + CROWD // 2
        session = _session(calls * FULL + SCRAP)
        job = self.job(pennies, session)
        refused(*self.outcomes(way, job, CROWD))
        expect(not gate.timed_out, f"{CROWD} agents were not at work at the same time.")
        counted(pennies, session, calls)
        balanced(pennies, session)

    # -- how it ends -------------------------------------------------------------------------

    def test_an_error_of_the_provider_leaves_nothing_held(
        self, provider: Provider, way: str
    ) -> None:
        """The second call fails, and so does whatever tries it again."""
        provider.respond(lambda incoming: None if incoming.index else searching(2)(incoming))
        provider.default = Reply("out of order", status=500)
        session = _session("$1")
        self.outcomes(way, self.job(provider, session))  # however the framework ends
        expect(provider.requests > 1, "The agent was stopped before the provider failed.")
        balanced(provider, session)

    def test_an_error_in_a_tool_leaves_nothing_held(self, provider: Provider, way: str) -> None:
        """The tool raises; the framework tells the model, or ends."""
        provider.respond(lambda incoming: ANSWER if incoming.index else searching(2)(incoming))
        session = _session("$1")
        self.outcomes(way, self.job(provider, session, tool=broken()))
        balanced(provider, session)

    @needs("arun", "astream")
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
            task = asyncio.ensure_future(self.awaited(way, self.job(provider, session)))
            await asyncio.to_thread(provider.wait_for_requests, 2)
            task.cancel()
            await asyncio.wait({task}, timeout=1)  # what runs in a thread goes on to its end
            held.set()

        asyncio.run(cancel())
        balanced(provider, session, exact=False)

    @needs("stream", "astream")
    def test_a_stream_that_is_broken_off_leaves_nothing_held(
        self, provider: Provider, way: str
    ) -> None:
        """The answer is not read on after its first part."""
        provider.respond(lambda _: Reply(output_tokens=60, chunk_delay=0.005))
        session = _session("$1")
        self.break_off(way, self.job(provider, session))
        gc.collect()  # where a framework leaves the rest of a stream to that
        balanced(provider, session, exact=False)


def _session(budget: str | int, **options: Any) -> BudgetSession:
    """Open a session with a limit: dollars as a text, or nanos."""
    limit = budget if isinstance(budget, str) else to_usd(budget)
    return AgentBudget(limit, parent=None, max_repeated_calls=None, **options).session()
