"""Every way of running: what is charged is what is owed, and what is refused is not sent."""

import asyncio

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_openai import OpenAI
from langgraph.errors import GraphBubbleUp

from budget_core import AgentBudget, BudgetExhausted, UnknownModel
from budget_core.testing import Reply
from budget_langchain import LangChainBudgetCallback

COST = 400 * 2_500 + 50 * 10_000


@pytest.mark.parametrize("maker", ["gpt", "claude"])
async def test_the_bill_is_what_was_spent(
    provider, request, maker, model_way, guard_sdks, ask, square
):
    model = request.getfixturevalue(maker)()
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    for text in ("one", "two"):
        await ask(model_way, model, text, {"callbacks": [callback]})
    assert provider.requests == 2
    assert provider.bill_nanos > 0
    square(callback.session)
    assert callback.get_report()["breakdown"]["llm"]["calls"] == 2


@pytest.mark.parametrize("k", [0, 1, 2, 3])
async def test_the_budget_trips_at_call_k(provider, gpt, k, model_way, guard_sdks, ask, square):
    provider.default = Reply("x", input_tokens=400, output_tokens=50)
    # a first prompt is bounded by its bytes and 1,024 tokens, so it needs some 3,300,000 nanos
    limit = (k * COST + 1_900_000) / 1e9 if k else 0.002
    callback = LangChainBudgetCallback(limit, guard_sdks=guard_sdks, max_repeated_calls=None)
    model = gpt(max_tokens=50)
    for at in range(k):
        await ask(model_way, model, f"question {at}", {"callbacks": [callback]})
    with pytest.raises(BudgetExhausted) as raised:
        await ask(model_way, model, "one more", {"callbacks": [callback]})
    assert isinstance(raised.value, GraphBubbleUp)
    assert provider.requests == k
    square(callback.session)


@pytest.mark.parametrize("k", [0, 1, 2])
async def test_an_agent_is_stopped_before_call_k(
    eager, gpt, researcher, k, agent_way, guard_sdks, drive, square
):
    callback = LangChainBudgetCallback("$1", llm_calls=k, guard_sdks=guard_sdks)
    with pytest.raises(BudgetExhausted) as raised:
        await drive(agent_way, researcher(gpt()), "go", {"callbacks": [callback]})
    assert raised.value.unit == "llm_calls"
    assert eager.requests == k
    square(callback.session)


async def test_an_agent_that_fits_is_charged_exactly(
    provider, steps, gpt, researcher, agent_way, guard_sdks, drive, square
):
    steps(3)
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks, tool_costs={"other": 1})
    await drive(agent_way, researcher(gpt()), "go", {"callbacks": [callback]})
    assert provider.requests == 4
    square(callback.session)
    report = callback.report()
    assert report["breakdown"]["tools"]["calls"] == 3


@pytest.mark.parametrize("both", [False, True])
async def test_inside_with_the_config_is_optional_and_nothing_counts_twice(
    provider, gpt, both, model_way, ask, square
):
    with LangChainBudgetCallback("$1") as callback:
        config = {"callbacks": [callback]} if both else None
        await ask(model_way, gpt(), "hi", config)
    assert provider.requests == 1
    square(callback.session)
    await ask(model_way, gpt(), "hi")
    assert provider.bill_nanos == 2 * callback.session.spent_nanos


async def test_it_works_with_async_with(provider, gpt, square):
    async with LangChainBudgetCallback("$1") as callback:
        await gpt().ainvoke("hi")
    square(callback.session)


def test_a_callback_that_is_entered_again_goes_on(provider, gpt, square):
    callback = LangChainBudgetCallback("$1")
    for text in ("one", "two"):
        with callback:
            gpt().invoke(text)
    assert provider.requests == 2
    square(callback.session)


async def test_nested_budgets_are_charged_once_each(provider, gpt, researcher, steps, square):
    steps(1)
    with LangChainBudgetCallback("$1", tool_costs={"search": "$0.01"}) as outer:
        inner = LangChainBudgetCallback("$0.5", tool_costs={"search": "$0.02"})
        assert inner.session.parent is outer.session
        state = {"messages": [("user", "go")]}
        await researcher(gpt()).ainvoke(state, {"callbacks": [outer, inner]})
    tool = 20_000_000
    assert outer.session.spent_nanos == provider.bill_nanos + tool
    assert inner.session.spent_nanos == provider.bill_nanos + tool
    assert outer.session.reserved == 0
    assert outer.session.ledger.verify() == []


async def test_two_budgets_that_know_nothing_of_each_other_both_hold(provider, gpt, square):
    first = LangChainBudgetCallback("$1")
    second = LangChainBudgetCallback(AgentBudget("$0.00001", parent=None))
    with pytest.raises(BudgetExhausted):
        gpt().invoke("hi", {"callbacks": [first, second]})
    assert provider.requests == 0
    square(first.session)
    assert second.session.reserved == 0


@pytest.fixture
def completions(provider):
    with httpx.Client() as client:
        yield OpenAI(
            base_url=provider.openai_url, api_key="test", max_retries=0, http_client=client
        )


def test_completions(provider, completions, guard_sdks, square):
    model = completions
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    provider.default = Reply("abcdefgh")
    model.invoke("Hello", {"callbacks": [callback]})
    square(callback.session)
    list(model.stream("Hello", {"callbacks": [callback]}, stream_options={"include_usage": True}))
    square(callback.session, exact=guard_sdks)
    model.generate(["one", "two", "three"], callbacks=[callback])
    assert provider.requests == 3
    square(callback.session, exact=guard_sdks)


def test_completions_are_refused_before_they_are_sent(provider, completions):
    callback = LangChainBudgetCallback("$0.0001")
    with pytest.raises(BudgetExhausted):
        completions.invoke("Hello", {"callbacks": [callback]})
    assert provider.requests == 0


def test_several_answers_are_paid_for(provider, gpt, guard_sdks, square):
    provider.default = Reply("abcd", input_tokens=10, output_tokens=20)
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    gpt(n=3).invoke("hi", {"callbacks": [callback]})
    assert provider.bills[0].output_tokens == 60
    square(callback.session)


def test_a_model_without_a_price_is_refused(provider, gpt):
    callback = LangChainBudgetCallback("$1")
    with pytest.raises(UnknownModel, match="register_model"):
        gpt(model="nobody-knows-me").invoke("hi", {"callbacks": [callback]})
    assert provider.requests == 0


def test_a_given_session_is_used_and_left_open(provider, gpt):
    with AgentBudget("$1").session() as session:
        with LangChainBudgetCallback(session=session) as callback:
            gpt().invoke("hi")
        assert callback.session is session
        assert session.spent_nanos == provider.bill_nanos
        session.track(cost=0.01)
    with pytest.raises(TypeError, match="session="):
        LangChainBudgetCallback("$1", session=session)


async def test_an_agent_reports_by_name(provider, gpt, steps, search_tool):
    steps(1)
    callback = LangChainBudgetCallback("$1", tool_costs={"search": 0.01})
    agent = create_agent(gpt(), [search_tool], name="scout")
    await agent.ainvoke({"messages": [("user", "go")]}, {"callbacks": [callback]})
    breakdown = callback.get_report()["breakdown"]
    assert breakdown["tools"]["by_tool"] == {"search": 0.01}
    assert breakdown["agents"]["by_agent"] == {
        "scout": pytest.approx(0.01 + provider.bill_nanos / 1e9)
    }


async def test_a_tools_price_counts_also_where_another_callback_saw_it_first(
    provider, gpt, researcher, steps
):
    steps(1)
    agent = researcher(gpt())

    def inner(_):
        with LangChainBudgetCallback("$1", tool_costs={"search": 0.01}) as callback:
            agent.invoke({"messages": [("user", "go")]})
        return callback.session

    with LangChainBudgetCallback("$2") as outer:
        session = await asyncio.to_thread(RunnableLambda(inner).invoke, 1)
    for paying in (session, outer.session):
        assert paying.report()["breakdown"]["tools"]["total"] == 0.01
        assert paying.spent_nanos == provider.bill_nanos + 10_000_000
