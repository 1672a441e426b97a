"""Whatever fails between AgentChat and the wire: nothing is sent that is not held."""

import contextlib

import pytest
from autogen_agentchat.agents import AssistantAgent

from budget_autogen import AutoGenBudgetTracker, paying
from budget_autogen.agentchat import agents, client, models, requests, tools
from budget_core.frameworks import integration, last_word, senders, streams
from budget_core.testing import Reply, ToolCall

ON_THE_WAY = [
    agents, client, integration, last_word, models, paying, requests, senders, streams, tools,
]  # fmt: skip


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent(place, streaming, breaking, client, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"query": "salt"})]), Reply("done"))
    budget = AutoGenBudgetTracker("$1")
    agent = AssistantAgent("worker", client(), tools=[search], model_client_stream=streaming)
    budget.attach(agent)
    breaking(*place)
    with contextlib.suppress(Exception):
        await agent.run(task="Why is the sea salt?")
    breaking.check(budget.session)
