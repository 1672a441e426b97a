"""Nested chats are a part of the reply that they make up, and so are agents that are tools."""

import asyncio

import pytest

from budget_core import BudgetExhausted
from budget_core.testing import Reply, ToolCall

from .conftest import WORK


@pytest.fixture(params=["sync", "async", "nested async"])
def initiate(request):
    async def chat(first, second, **options):
        if "async" in request.param:
            return await first.a_initiate_chat(second, **options)
        return await asyncio.to_thread(first.initiate_chat, second, **options)

    chat.nested = request.param == "nested async"
    return chat


@pytest.fixture
def nest():
    def make(outer, *inner, initiate, trigger, **options):
        queue = [
            {
                "recipient": one,
                "max_turns": 1,
                "summary_method": "last_msg",
                "chat_id": at,
                **options,
            }
            for at, one in enumerate(inner)
        ]
        for chat in queue[1:]:
            chat.update(message="and you?", prerequisites=[chat["chat_id"] - 1])
        outer.register_nested_chats(queue, trigger, use_async=initiate.nested)

    return make


@pytest.mark.parametrize("order", ["nested first", "attached first"])
@pytest.mark.parametrize("budgets", ["one", "outer alone", "user alone", "each"])
async def test_a_nested_chat_is_paid_for(
    talking, assistant, proxy, tracker, initiate, nest, order, budgets, square
):
    user, writer, critic = proxy(), assistant("writer"), assistant("critic")
    if order == "nested first":
        nest(writer, critic, initiate=initiate, trigger=user)
    outer = tracker("$1")
    if budgets == "user alone":
        outer.attach(user)
    elif budgets == "one":
        outer.attach(user, writer, critic)
    elif budgets == "outer alone":
        outer.attach(writer)
    else:
        inner = tracker("$1").attach(critic)
        outer.attach(writer)
    if order == "attached first":
        nest(writer, critic, initiate=initiate, trigger=user)
    result = await initiate(user, writer, message="go")
    assert result.summary == "text 0"
    square(outer.session)
    if budgets == "each":  # a limit covers whatever a reply consists of
        square(inner.session)


def test_a_recipient_with_a_budget_pays_for_itself_elsewhere(
    talking, assistant, proxy, tracker, square
):
    user, writer, critic = proxy(), assistant("writer"), assistant("critic")
    own = tracker("$1").attach(critic)
    writer.register_nested_chats([{"recipient": critic, "max_turns": 1}], trigger=user)
    budget = tracker("$1").attach(writer)
    user.initiate_chat(critic, message="go")
    assert budget.session.spent == 0
    square(own.session)


@pytest.mark.parametrize("calls", range(1, 4))
async def test_the_last_word_comes_from_the_outer_chat(
    talking, assistant, proxy, tracker, initiate, nest, calls, square
):
    user, writer = (
        proxy(is_termination_msg=lambda _: False, default_auto_reply="on"),
        assistant("writer"),
    )
    nest(writer, assistant("critic"), assistant("editor"), initiate=initiate, trigger=user)
    budget = tracker("$1", llm_calls=calls, finalization_reserve="$0.1").attach(user, writer)
    result = await initiate(user, writer, message="go")
    assert talking.requests == calls
    assert result.summary == result.chat_history[-1]["content"] == "the end"
    body = talking.bills[-1].body
    assert [message["content"] for message in body["messages"]][1] == "go"
    square(budget.session)


async def test_an_outer_agent_without_a_model_leaves_the_last_word_to_the_inner(
    talking, assistant, proxy, tracker, initiate, nest, square
):
    user, front = (
        proxy(is_termination_msg=lambda _: False, default_auto_reply="on"),
        proxy("front", is_termination_msg=lambda _: False),
    )
    nest(front, assistant("critic"), initiate=initiate, trigger=user)
    budget = tracker("$1", llm_calls=2, finalization_reserve="$0.1").attach(user, front)
    result = await initiate(user, front, message="go")
    assert talking.requests == 2
    assert result.summary == result.chat_history[-1]["content"] == "the end"
    square(budget.session)


async def test_an_inner_limit_ends_the_inner_chat(
    talking, assistant, proxy, tracker, initiate, nest, square
):
    user, writer, critic = proxy(), assistant("writer"), assistant("critic")
    nest(writer, critic, initiate=initiate, trigger=user)
    inner = tracker("$1", llm_calls=1, finalization_reserve="$0.1").attach(critic)
    outer = tracker("$1").attach(user, writer)
    result = await initiate(user, writer, message="go")
    assert result.summary == "the end"
    assert inner.session.finalized
    assert not outer.session.finalized
    square(outer.session)
    square(inner.session)


@pytest.mark.parametrize("calls", range(3))
async def test_the_error_may_be_raised(
    talking, assistant, proxy, tracker, initiate, nest, calls, square
):
    user, writer = (
        proxy(is_termination_msg=lambda _: False, default_auto_reply="on"),
        assistant("writer"),
    )
    nest(writer, assistant("critic"), initiate=initiate, trigger=user)
    budget = tracker("$1", llm_calls=calls, on_exhausted="raise").attach(user, writer)
    with pytest.raises(BudgetExhausted):
        await initiate(user, writer, message="go")
    assert talking.requests == calls
    square(budget.session)


# -- an agent as a tool ----------------------------------------------------------------------


@pytest.fixture
def expert(assistant, proxy):
    """Give a writer a tool that asks another agent."""

    def make(writer, user, agent):
        def ask_expert(question: str) -> str:
            return str(proxy("asker").initiate_chat(agent, message=question).summary)

        from autogen import register_function

        register_function(ask_expert, caller=writer, executor=user, description="Ask an expert.")

    return make


def asking(provider, *replies):
    provider.script(Reply(tool_calls=[ToolCall("ask_expert", {"question": "x"})], **WORK), *replies)
    provider.default = Reply("done", **WORK)


@pytest.mark.parametrize("attached", ["both", "outer", "own"])
async def test_an_agent_that_is_a_tool_is_paid_for(
    provider, assistant, proxy, tracker, initiate, expert, attached, square
):
    asking(provider, Reply("42", **WORK))
    user, writer, agent = proxy(), assistant("writer"), assistant("expert")
    expert(writer, user, agent)
    budget = tracker("$1", tool_calls=5).attach(user, writer)
    if attached == "both":
        budget.attach(agent)
    own = tracker("$1").attach(agent) if attached == "own" else None
    result = await initiate(user, writer, message="go")
    assert result.summary == "done"
    assert provider.requests == 3
    assert budget.session.balance().spent.tool_calls == 1
    square(budget.session)
    assert own is None or own.session.balance().spent.llm_calls == 1


async def test_an_agent_that_is_a_tool_leaves_the_last_word_to_its_user(
    provider, assistant, proxy, tracker, initiate, expert, square
):
    asking(provider, Reply("the end", **WORK))
    user, writer, agent = proxy(), assistant("writer"), assistant("expert")
    expert(writer, user, agent)
    budget = tracker("$1", llm_calls=2, finalization_reserve="$0.1").attach(user, writer, agent)
    result = await initiate(user, writer, message="go")
    assert provider.requests == 2
    assert result.summary == "the end"
    assert "Error" in result.chat_history[-2]["content"]
    square(budget.session)


async def test_an_agent_that_is_a_tool_leaves_the_answer_to_its_user(
    provider, assistant, proxy, tracker, initiate, expert, square
):
    asking(provider)
    user, writer, agent = proxy(), assistant("writer"), assistant("expert")
    expert(writer, user, agent)
    budget = tracker("$1", llm_calls=1, on_exhausted=lambda error: f"no more {error.unit}")
    budget.attach(user, writer, agent)
    result = await initiate(user, writer, message="go")
    assert result.summary == "no more llm_calls"
    assert result.chat_history[-1]["name"] == "writer"
    assert "Error" in result.chat_history[-2]["content"]
    square(budget.session)
