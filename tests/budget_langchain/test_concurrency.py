"""Many at once: who can wait waits, and together they never exceed the budget."""

import asyncio
import operator
from typing import Annotated, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from budget_core import BudgetExhausted
from budget_core.testing import Gate, Reply
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

# 1,000 tokens of input and 750 of output: $0.01
CENT = {"input_tokens": 1_000, "output_tokens": 750}


@pytest.fixture
def cents(provider):
    provider.default = Reply(**CENT)
    return provider


def questions(count):
    return [{"messages": [("user", f"question {at}")]} for at in range(count)]


def check(provider, session, results):
    refused = [r for r in results if isinstance(r, BudgetExhausted)]
    answered = [r for r in results if isinstance(r, dict)]
    assert len(refused) + len(answered) == len(results)
    assert provider.bill_nanos == session.spent_nanos
    assert 90_000_000 <= provider.bill_nanos <= 100_000_000
    assert session.reserved == 0
    assert session.ledger.verify() == []


def test_a_batch_with_the_callback_alone(cents, gpt, researcher):
    callback = LangChainBudgetCallback("$0.10", max_repeated_calls=None)
    config = {"callbacks": [callback], "max_concurrency": 50}
    results = researcher(gpt()).batch(questions(50), config, return_exceptions=True)
    check(cents, callback.session, results)


@pytest.mark.parametrize("count", [40, 50])
def test_a_batch_with_the_middleware(cents, gpt, researcher, guard_sdks, count):
    budget = BudgetMiddleware(
        "$0.10", on_exhausted="raise", max_repeated_calls=None, guard_sdks=guard_sdks
    )
    agent = researcher(gpt(), budget)
    results = agent.batch(questions(count), {"max_concurrency": count}, return_exceptions=True)
    check(cents, budget.session, results)


@pytest.mark.parametrize("count", [40, 50])
async def test_an_abatch_with_the_middleware(cents, gpt, researcher, guard_sdks, count):
    budget = BudgetMiddleware(
        "$0.10", on_exhausted="raise", max_repeated_calls=None, guard_sdks=guard_sdks
    )
    results = await researcher(gpt(), budget).abatch(questions(count), return_exceptions=True)
    check(cents, budget.session, results)


class Fan(TypedDict):
    answers: Annotated[list[object], operator.add]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_send_with_the_middleware(cents, gpt, researcher, asynchronous):
    budget = BudgetMiddleware("$0.10", on_exhausted="raise", max_repeated_calls=None)
    agent = researcher(gpt(), budget)

    def answer(state):
        try:
            return {"answers": [agent.invoke(state)]}
        except BudgetExhausted as error:
            return {"answers": [error]}

    async def aanswer(state):
        try:
            return {"answers": [await agent.ainvoke(state)]}
        except BudgetExhausted as error:
            return {"answers": [error]}

    graph = StateGraph(Fan)
    graph.add_node("answer", aanswer if asynchronous else answer)
    sends = [Send("answer", state) for state in questions(40)]
    graph.add_conditional_edges(START, lambda _: sends, ["answer"])
    graph.add_edge("answer", END)
    compiled = graph.compile()
    if asynchronous:
        state = await compiled.ainvoke({"answers": []})
    else:
        config = {"max_concurrency": 40}
        state = await asyncio.to_thread(compiled.invoke, {"answers": []}, config)
    check(cents, budget.session, state["answers"])


async def test_one_of_many_has_the_last_word(cents, gpt, researcher):
    budget = BudgetMiddleware("$0.10", finalization_reserve="$0.03", max_repeated_calls=None)
    results = await researcher(gpt(), budget).abatch(questions(40), return_exceptions=True)
    assert budget.session.finalized
    assert cents.bill_nanos == budget.session.spent_nanos <= 100_000_000
    assert any(isinstance(r, dict) for r in results)
    assert budget.session.reserved == 0


class TestSamples:
    """Parallel samples of one prompt are no loop, also where a guard adopts their calls."""

    @pytest.fixture
    def together(self, provider):
        """Hold the answers back until that many are asked for."""

        def at_once(count):
            provider.default = Reply("391", gate=Gate(count))

        return at_once

    def test_a_batch_of_one_prompt(self, provider, gpt, together, square):
        together(12)
        with LangChainBudgetCallback("$5", max_repeated_calls=3) as callback:
            gpt().batch(["17 * 23?"] * 12, {"max_concurrency": 12})
        assert provider.requests == 12
        square(callback.session)

    async def test_tasks_that_ask_the_same(self, provider, gpt, together, square):
        together(6)
        with LangChainBudgetCallback("$5", max_repeated_calls=3) as callback:
            asking = []
            for at in range(6):
                asking.append(asyncio.create_task(gpt().ainvoke("17 * 23?")))
                await asyncio.to_thread(provider.wait_for_requests, at + 1)
            await asyncio.gather(*asking)
        square(callback.session)

    def test_votes_of_a_graph(self, provider, gpt, together, square):
        together(12)
        model = gpt()

        class Votes(TypedDict):
            given: Annotated[list, operator.add]

        def vote(_):
            return {"given": [model.invoke("17 * 23?").text]}

        graph = StateGraph(Votes)
        graph.add_node("vote", vote).add_edge("vote", END)
        graph.add_conditional_edges(START, lambda _: [Send("vote", {}) for _ in range(12)])
        with LangChainBudgetCallback("$5", max_repeated_calls=3) as callback:
            votes = graph.compile().invoke({"given": []}, {"max_concurrency": 12})
        assert votes["given"] == ["391"] * 12
        square(callback.session)
