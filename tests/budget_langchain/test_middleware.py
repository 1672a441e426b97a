"""An agent that finishes its answer when the money runs out, and waits for it when it can."""

import asyncio

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from budget_core import BudgetExhausted, SessionCancelled, SessionFinalized
from budget_core.testing import Gate, Reply, ToolCall
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

GO = {"messages": [("user", "go")]}


@pytest.mark.parametrize("maker", ["gpt", "claude"])
async def test_the_last_call_is_an_answer(
    eager, request, researcher, maker, agent_way, guard_sdks, drive, square
):
    budget = BudgetMiddleware("$0.04", finalization_reserve="$0.02", guard_sdks=guard_sdks)
    agent = researcher(request.getfixturevalue(maker)(), budget)
    state = await drive(agent_way, agent, "go", {"recursion_limit": 100})
    if state is not None:
        assert state["messages"][-1].content in ("the end", [{"type": "text", "text": "the end"}])
    last = eager.bills[-1].body
    assert not last.get("tools") or last["tool_choice"] == {"type": "none"}
    assert "last message" in str(last["messages"][-1])
    assert budget.session.finalized
    square(budget.session)
    assert budget.get_report()["terminated_by"] in ("finalized", "budget_exhausted")
    with pytest.raises(SessionFinalized):
        await drive("ainvoke", researcher(request.getfixturevalue(maker)(), budget), "more")


async def test_without_a_reserve_that_pays_the_error_propagates(
    eager, gpt, researcher, agent_way, drive, square
):
    budget = BudgetMiddleware("$0.009")
    with pytest.raises(BudgetExhausted) as raised:
        await drive(agent_way, researcher(gpt(), budget), "go")
    assert raised.value.unit == "usd"
    square(budget.session)


@pytest.mark.parametrize("shared", ["config", "with", "alone"])
async def test_the_callback_may_be_passed_as_well(
    provider, steps, gpt, researcher, shared, agent_way, drive, square
):
    steps(2)
    callback = LangChainBudgetCallback("$1")
    agent = researcher(gpt(), BudgetMiddleware(callback=callback))
    if shared == "with":
        with callback:
            await drive(agent_way, agent, "go")
    else:
        await drive(agent_way, agent, "go", {"callbacks": [callback]} if shared == "config" else {})
    assert provider.requests == 3
    square(callback.session)
    assert callback.get_report()["breakdown"]["tools"]["calls"] == 2


async def test_a_budget_around_the_middlewares_own_is_charged_once(
    provider, steps, gpt, researcher, agent_way, drive, square
):
    steps(2)
    with LangChainBudgetCallback("$1") as outer:
        budget = BudgetMiddleware("$0.5")
        await drive(agent_way, researcher(gpt(), budget), "go")
    assert budget.session.parent is outer.session
    square(outer.session)
    square(budget.session)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_the_error_may_be_raised(eager, gpt, researcher, way, drive, square):
    budget = BudgetMiddleware("$0.02", on_exhausted="raise", finalization_reserve=0.2)
    with pytest.raises(BudgetExhausted):
        await drive(way, researcher(gpt(), budget), "go")
    assert not budget.session.finalized
    square(budget.session)


@pytest.mark.parametrize("said", ["that was it", AIMessage("that was it")])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_callable_may_answer(eager, gpt, researcher, way, said, drive, square):
    errors = []

    def answer(error):
        errors.append(error)
        return said

    budget = BudgetMiddleware("$0.02", on_exhausted=answer)
    state = await drive(way, researcher(gpt(), budget), "go")
    assert state["messages"][-1].content == "that was it"
    assert isinstance(errors[0], BudgetExhausted)
    square(budget.session)


async def test_a_callable_may_be_asynchronous(eager, gpt, researcher, drive):
    async def answer(error):
        return f"spent {error.unit}"

    budget = BudgetMiddleware("$0.02", on_exhausted=answer)
    state = await drive("ainvoke", researcher(gpt(), budget), "go")
    assert state["messages"][-1].content == "spent usd"


def test_arguments_that_contradict_each_other(gpt):
    callback = LangChainBudgetCallback("$1")
    with pytest.raises(TypeError, match="callback="):
        BudgetMiddleware("$1", callback=callback)
    with pytest.raises(ValueError, match="on_exhausted"):
        BudgetMiddleware("$1", on_exhausted="explode")


def test_a_cancelled_session_has_no_last_word(eager, gpt, researcher):
    budget = BudgetMiddleware("$1", finalization_reserve=0.5)
    budget.session.cancel()
    with pytest.raises(SessionCancelled):
        researcher(gpt(), budget).invoke(GO)
    assert eager.requests == 0


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "events"])
async def test_a_model_that_calls_tools_to_the_end_is_cut_off(
    provider, gpt, researcher, way, drive, square
):
    call = ToolCall("search", {"query": "again"})
    provider.default = Reply(tool_calls=[call], input_tokens=500, output_tokens=100)
    budget = BudgetMiddleware("$0.03", finalization_reserve="$0.01", max_repeated_calls=None)
    state = await drive(way, researcher(gpt(), budget), "go")
    if state is not None:
        last = state["messages"][-1]
        assert last.content
        assert last.tool_calls == []
    square(budget.session)


class Weather(BaseModel):
    """The weather."""

    degrees: int


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_structured_answer_is_kept(provider, gpt, search_tool, way, drive, square):
    def reply(incoming):
        only = incoming.tools == ("Weather",)
        call = ToolCall("Weather", {"degrees": 20}) if only else ToolCall("search", {"query": "x"})
        return Reply(tool_calls=[call], input_tokens=500, output_tokens=100)

    provider.respond(reply)
    budget = BudgetMiddleware("$0.03", finalization_reserve="$0.01")
    agent = create_agent(
        gpt(), [search_tool], middleware=[budget], response_format=ToolStrategy(Weather)
    )
    state = await drive(way, agent, "go")
    assert state["structured_response"] == Weather(degrees=20)
    square(budget.session)


@pytest.mark.parametrize("maker", ["gpt", "claude"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "events"])
async def test_an_answer_without_end_is_capped(
    provider, request, researcher, maker, way, guard_sdks, drive, square
):
    provider.default = Reply(input_tokens=100, output_tokens=20_000)
    budget = BudgetMiddleware("$0.02", on_exhausted="raise", guard_sdks=guard_sdks)
    with pytest.raises(BudgetExhausted):
        await drive(way, researcher(request.getfixturevalue(maker)(), budget), "write a book")
    assert budget.session.report()["truncated_answers"] == provider.requests
    assert provider.bills[0].output_cap is not None
    assert provider.bills[0].output_tokens < 20_000
    square(budget.session)


def test_a_callers_own_cap_is_never_raised(provider, gpt, claude, researcher, guard_sdks):
    provider.default = Reply(input_tokens=10, output_tokens=20_000)
    for model in (gpt(max_tokens=77), claude(max_tokens=77)):
        budget = BudgetMiddleware("$1", guard_sdks=guard_sdks)
        researcher(model, budget).invoke(GO)
        assert provider.bills[-1].output_cap == 77


def test_thinking_keeps_its_budget_or_is_refused(provider, claude, researcher):
    thinking = {"type": "enabled", "budget_tokens": 5_000}
    model = claude(thinking=thinking, max_tokens=8_000)
    budget = BudgetMiddleware("$0.05", on_exhausted="raise", guard_sdks=False)
    with pytest.raises(BudgetExhausted):
        researcher(model, budget).invoke(GO)
    assert provider.requests == 0
    assert budget.session.reserved == 0


def test_a_call_that_another_middleware_answers_is_released(provider, gpt, researcher, square):
    @wrap_model_call
    def canned(request, handler):
        return AIMessage("canned")

    budget = BudgetMiddleware("$1")
    state = researcher(gpt(), budget, canned).invoke(GO)
    assert state["messages"][-1].content == "canned"
    assert provider.requests == 0
    square(budget.session)
    assert budget.session.balance().spent.llm_calls == 0


def test_a_call_that_another_middleware_repeats_is_charged_twice(provider, gpt, researcher, square):
    @wrap_model_call
    def twice(request, handler):
        handler(request)
        return handler(request)

    budget = BudgetMiddleware("$1")
    researcher(gpt(), budget, twice).invoke(GO)
    assert provider.requests == 2
    square(budget.session)


async def test_a_task_that_is_cancelled_leaves_no_hold(
    provider, gpt, researcher, guard_sdks, square
):
    gate = Gate(2)
    provider.default = Reply("x", gate=gate)
    budget = BudgetMiddleware("$1", guard_sdks=guard_sdks)
    task = asyncio.create_task(researcher(gpt(), budget).ainvoke(GO))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    square(budget.session, exact=False)


def test_a_tools_refusal_is_told_to_the_model(provider, gpt, researcher, steps):
    steps(2)
    budget = BudgetMiddleware("$1", tool_calls=1)
    state = researcher(gpt(), budget).invoke(GO)
    assert state["messages"][-1].content == "done"
    assert [m.status for m in state["messages"] if m.type == "tool"] == ["success", "error"]
    assert budget.session.balance().spent.tool_calls == 1
