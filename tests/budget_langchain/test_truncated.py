"""Near the limit the cap cuts answers: an agent never ends with a part of one."""

import asyncio
import json

import pydantic
import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from budget_core import BudgetExhausted, CallRequest
from budget_core.errors import AnswerTruncated
from budget_core.testing import Reply, ToolCall
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

TEXT = " ".join(f"word{i}" for i in range(900))
LAST = "Short last word."
BUDGETS = [0.026, 0.03, 0.036, 0.06]
KINDS = ["tool call", "text", "provider", "tools"]


class Report(pydantic.BaseModel):
    """A report."""

    text: str


@tool
def save(text: str) -> str:
    """Save a draft."""
    return "saved"


def answering(kind, drafts=1):
    """Return a model that writes so many drafts, and then an answer; told to wrap up, it does."""

    def last(incoming):
        if incoming.body.get("response_format"):
            return Reply('{"text":"short"}')
        if incoming.tools:
            return Reply(tool_calls=[ToolCall(incoming.tools[0], {"text": "short"})])
        return Reply(LAST)

    def answer(incoming):
        if "budget" in incoming.last_text.lower():
            return last(incoming)
        done = sum(1 for message in incoming.messages if message["role"] == "tool")
        if done < drafts or kind == "tool call":
            draft = f"{TEXT[:6000]}{incoming.index}"
            return Reply(tool_calls=[ToolCall("save", {"text": draft})])
        if kind == "tools":
            return Reply(tool_calls=[ToolCall("Report", {"text": TEXT})])
        return Reply(json.dumps({"text": TEXT}) if kind == "provider" else TEXT)

    return answer


def agent_of(model, middleware, kind):
    forms = {"provider": ProviderStrategy(Report), "tools": ToolStrategy(Report)}
    return create_agent(model, [save], middleware=middleware, response_format=forms.get(kind))


def run(agent, how, **config):
    said = {"messages": [("user", "write a report")]}
    if how == "invoke":
        return agent.invoke(said, config or None)
    return asyncio.run(agent.ainvoke(said, config or None))


def assert_whole(result, kind):
    last = result["messages"][-1]
    if kind in ("provider", "tools"):
        assert result["structured_response"].text in ("short", TEXT)
    else:
        assert isinstance(last, AIMessage)
        assert last.text in (LAST, TEXT)
    for message in result["messages"]:
        assert not getattr(message, "invalid_tool_calls", None)


@pytest.mark.parametrize(("how", "drafts"), [("invoke", 0), ("ainvoke", 1)])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_word_stands_for_an_answer_that_was_cut(
    provider, gpt, guard_sdks, budget, kind, how, drafts
):
    provider.respond(answering(kind, drafts))
    options = {"finalization_reserve": "$0.02", "max_repeated_calls": None}
    middleware = BudgetMiddleware(budget, guard_sdks=guard_sdks, **options)
    result = run(agent_of(gpt(), [middleware], kind), how)
    assert_whole(result, kind)
    session = middleware.session
    assert session.terminated_by == ("finalized" if session.finalized else None)
    assert session.exhausted is session.finalized
    assert session.spent_nanos == provider.bill_nanos
    assert session.spent <= budget
    report = session.report()
    cut = [event for event in report["events"] if event["type"] == "truncated"]
    assert len(cut) == report["truncated_answers"]
    met = [bill for bill in provider.bills if bill.output_cap == bill.output_tokens]
    assert len(cut) == len(met)


@pytest.mark.parametrize("budget", [0.01, 0.013, 0.016])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_no_reserve_or_no_last_word_is_an_error_that_names_the_budget(
    provider, gpt, guard_sdks, budget, kind, how
):
    provider.respond(answering(kind, drafts=0))
    on_exhausted = "raise" if how == "invoke" else "finalize"
    middleware = BudgetMiddleware(
        budget, on_exhausted=on_exhausted, guard_sdks=guard_sdks, max_repeated_calls=None
    )
    with pytest.raises(BudgetExhausted):
        run(agent_of(gpt(), [middleware], kind), how)
    session = middleware.session
    assert session.exhausted
    assert session.terminated_by == "budget_exhausted"
    assert session.report()["truncated_answers"] == 1
    assert session.spent_nanos == provider.bill_nanos


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_callback_alone_raises_in_an_agent(provider, gpt, kind, how):
    provider.respond(answering(kind, drafts=0))
    callback = LangChainBudgetCallback(0.01)
    with callback, pytest.raises(AnswerTruncated) as caught:
        run(agent_of(gpt(), [], kind), how)
    session = callback.session
    assert caught.value.cap == provider.bills[0].output_cap
    assert session.exhausted
    assert session.terminated_by == "budget_exhausted"
    assert session.spent_nanos == provider.bill_nanos


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
def test_a_part_of_a_text_that_a_program_asked_for_is_given_and_told(provider, gpt, way):
    provider.respond(answering("text", drafts=0))
    told = []
    with LangChainBudgetCallback(0.01, on_truncated=told.append) as callback:
        if way == "invoke":
            said = gpt().invoke("Hello").text
        elif way == "stream":
            said = "".join(part.text for part in gpt().stream("Hello"))
        elif way == "ainvoke":
            said = asyncio.run(gpt().ainvoke("Hello")).text
        else:

            async def read():
                return [part.text async for part in gpt().astream("Hello")]

            said = "".join(asyncio.run(read()))
    assert TEXT.startswith(said)
    assert said != TEXT
    (bill,) = provider.bills
    assert [(each["cap"], each["output"]) for each in told] == [(bill.output_cap,) * 2]
    assert callback.session.terminated_by is None


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_form_that_was_cut_is_refused_outside_of_agents_too(provider, gpt, how):
    provider.respond(answering("provider", drafts=0))
    callback = LangChainBudgetCallback(0.01)
    chain = gpt().with_structured_output(Report, method="json_schema")
    with callback, pytest.raises(AnswerTruncated):
        chain.invoke("Hello") if how == "invoke" else asyncio.run(chain.ainvoke("Hello"))
    assert callback.session.spent_nanos == provider.bill_nanos


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_an_agent_that_is_streamed(provider, gpt, how):
    provider.respond(answering("text"))
    middleware = BudgetMiddleware(0.03, finalization_reserve="$0.02", max_repeated_calls=None)
    agent, said = agent_of(gpt(), [middleware], "text"), {"messages": [("user", "write")]}

    async def read():
        return [part async for part in agent.astream(said, stream_mode="values")]

    states = list(agent.stream(said, stream_mode="values")) if how == "stream" else None
    assert (states or asyncio.run(read()))[-1]["messages"][-1].text == LAST
    assert middleware.session.finalized


def test_a_caller_s_own_cap_is_no_cut_of_ours(provider, gpt):
    provider.respond(answering("text", drafts=0))
    middleware = BudgetMiddleware("$1", finalization_reserve="$0.02")
    result = run(agent_of(gpt(max_tokens=300), [middleware], "text"), "invoke")
    assert result["messages"][-1].response_metadata["finish_reason"] == "length"
    assert middleware.session.report()["truncated_answers"] == 0


def test_a_cut_answer_is_asked_for_again_while_there_is_money(provider, gpt):
    # another call holds most of the budget while this one is made
    provider.respond(answering("text", drafts=0))
    middleware = BudgetMiddleware("$0.2", finalization_reserve="$0.02", max_repeated_calls=2)
    session = middleware.session
    other = session.open_call(CallRequest(kind="tool", name="search", cost=170_000_000))

    def answer(incoming):
        if provider.requests == 1:
            other.release()
        return Reply(TEXT)

    provider.respond(answer)
    result = run(agent_of(gpt(), [middleware], "text"), "invoke")
    assert result["messages"][-1].text == TEXT
    assert [event["type"] for event in session.report()["events"]] == ["call", "truncated", "call"]
    assert not session.exhausted
    assert session.spent_nanos == provider.bill_nanos
