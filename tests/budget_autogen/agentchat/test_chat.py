"""A chat of two, with AgentChat alone."""

import asyncio

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient

from budget_autogen.agentchat import BudgetedAssistantAgent, BudgetedUserProxyAgent
from budget_autogen.agentchat.chat import wait_for
from budget_core import AgentBudget, BudgetExhausted
from budget_core.testing import Reply, ToolCall


@pytest.fixture
def user():
    return BudgetedUserProxyAgent("user", "$5")


async def test_a_question_and_its_answer(user, client, provider, square):
    alice = BudgetedAssistantAgent("alice", client(), "$1")
    result = await user.a_initiate_chat(alice, "What is 2 + 2?")
    assert result.summary == "Hello from the test provider."
    assert [message["name"] for message in result.chat_history] == ["user", "alice"]
    assert result.cost == {"alice": provider.bill}
    assert provider.requests == 1
    square(alice.session)


async def test_tools_are_used_until_there_is_an_answer(user, client, provider, search_tool, square):
    alice = BudgetedAssistantAgent("alice", client(), "$1", tools=[search_tool])
    calls = [Reply(tool_calls=[ToolCall("search", {"query": q})]) for q in "ab"]
    provider.script(*calls, Reply("found"))
    result = await user.a_initiate_chat(alice, "Search.")
    assert result.summary == "found"
    assert provider.requests == 3
    square(alice.session)


async def test_it_ends_after_a_number_of_turns(user, client, provider, search_tool):
    alice = BudgetedAssistantAgent("alice", client(), "$1", tools=[search_tool])
    provider.respond(
        lambda asked: Reply(tool_calls=[ToolCall("search", {"query": str(asked.index)})])
    )
    result = await user.a_initiate_chat(alice, "Search.", max_turns=4)
    assert provider.requests == 4
    assert result.summary == "found 3"


async def test_the_last_word_is_the_summary(user, client, provider, search_tool, square):
    alice = BudgetedAssistantAgent(
        "alice", client(), tools=[search_tool], llm_calls=3, finalization_reserve=0.1
    )
    calls = [Reply(tool_calls=[ToolCall("search", {"query": q})]) for q in "ab"]
    provider.script(*calls, Reply("that is all"))
    result = await user.a_initiate_chat(alice, "Search.")
    assert result.summary == "that is all"
    assert alice.session.finalized
    square(alice.session)


async def test_a_second_chat_begins_anew(user, client, provider):
    alice = BudgetedAssistantAgent("alice", client(), "$1")
    await user.a_initiate_chat(alice, "First.")
    await user.a_initiate_chat(alice, "Second.")
    assert "First." not in str(provider.bills[-1].body)
    await user.a_initiate_chat(alice, "Third.", clear_history=False)
    assert "Second." in str(provider.bills[-1].body)


async def test_without_a_budget_of_its_own(user, client, provider):
    alice = AssistantAgent("alice", client())
    result = await user.a_initiate_chat(alice, "What is 2 + 2?")
    assert result.summary == "Hello from the test provider."


async def test_an_error_is_raised_as_it_is(user, client):
    alice = BudgetedAssistantAgent("alice", client(), llm_calls=0, on_exhausted="raise")
    with pytest.raises(BudgetExhausted):
        await user.a_initiate_chat(alice, "What is 2 + 2?")


def test_blocking_again_and_again(user, provider):
    url = {"base_url": provider.openai_url, "api_key": "test"}
    client = OpenAIChatCompletionClient(model="gpt-4o", **url)
    with AgentBudget("$2").session() as session:
        alice = BudgetedAssistantAgent("alice", client, "$1")
        for _ in range(3):
            result = user.initiate_chat(alice, message="Hello.")
            assert result.summary == "Hello from the test provider."
    assert session.spent_nanos == alice.session.spent_nanos == provider.bill_nanos
    wait_for(client.close())


async def test_not_inside_an_event_loop(user, client):
    alice = BudgetedAssistantAgent("alice", client(), "$1")
    with pytest.raises(RuntimeError, match="await a_initiate_chat"):
        user.initiate_chat(alice, "Hello.")


async def test_a_user_proxy_asks_nobody(user):
    result = await asyncio.wait_for(user.run(task="Anything?"), 5)
    assert result.messages[-1].content == ""
