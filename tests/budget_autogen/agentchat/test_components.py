"""Dumped and loaded again: the budget, and what was spent of it."""

import json
import subprocess
import sys

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Team
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_core.models import ChatCompletionClient, UserMessage

from budget_autogen import AutoGenBudgetTracker, BudgetedChatCompletionClient
from budget_autogen.agentchat import BudgetedAssistantAgent, BudgetedUserProxyAgent
from budget_autogen.saved import restore, save
from budget_core import AgentBudget, BudgetExhausted
from budget_core.testing import Reply

ASK = [UserMessage(content="What is up?", source="user")]


def as_json(component):
    return json.loads(component.dump_component().model_dump_json())


def reloaded(component, kind=Team):
    return kind.load_component(as_json(component))


async def test_a_client(client, provider):
    budgeted = BudgetedChatCompletionClient(client(), "$1", llm_calls=3)
    await budgeted.create(ASK)
    again = reloaded(budgeted, ChatCompletionClient)
    assert isinstance(again, BudgetedChatCompletionClient)
    assert again.payers.session is budgeted.payers.session
    await again.create(ASK)
    assert budgeted.payers.session.spent_nanos == provider.bill_nanos
    await again.close()


@pytest.mark.parametrize("selecting", [False, True])
async def test_a_team(selecting, client, provider, search_tool):
    agents = [
        AssistantAgent(name, client(), tools=[search_tool]) for name in ("alice", "bob", "carol")
    ]
    if selecting:
        provider.script(Reply("alice"), Reply("one"), Reply("bob"), Reply("two"))
        team = SelectorGroupChat(agents, client(), max_turns=1)
    else:
        team = RoundRobinGroupChat(agents, max_turns=1)
    tracker = AutoGenBudgetTracker(
        "$1", tool_costs={"search": 0.5}, agents={"alice": "$0.9"}, soft_limit=0.5
    ).attach(team)
    await team.run(task="Talk.")
    again = reloaded(team)
    assert type(again._participants[0]) is BudgetedAssistantAgent
    assert again._participants[0].tracker is tracker
    assert again._participants[0]._budget_payers.tool_cost("search") == 500_000_000
    await again.run(task="Talk.")
    assert tracker.session.spent_nanos == provider.bill_nanos
    for each in (*again._participants, *([again] if selecting else [])):
        await each._model_client.close()


async def test_agents(client):
    assistant = BudgetedAssistantAgent("alice", client(), "$1")
    user = BudgetedUserProxyAgent("user", tracker=assistant.tracker)
    assert reloaded(assistant, AssistantAgent).session is assistant.session
    assert reloaded(user, BudgetedUserProxyAgent).session is assistant.session


CODE = """
import asyncio, json, sys
from autogen_agentchat.base import Team
from budget_core import BudgetExhausted

async def main():
    team = Team.load_component(json.loads(sys.stdin.read()))
    alice, bob = team._participants
    session = alice.session
    assert session.parent is None and bob.session.parent is session
    report = {"before": session.spent_nanos, "bob": bob.session.spent_nanos}
    try:
        for _ in range(9):
            await team.run(task="Talk.")
    except (BudgetExhausted, RuntimeError):
        pass
    report.update(after=session.spent_nanos, calls=session.balance().spent.llm_calls)
    print(json.dumps(report))

asyncio.run(main())
"""


async def test_in_another_process(client, provider):
    """What was spent before stays spent, in the whole as in an agent's own part."""
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob")]
    team = RoundRobinGroupChat(agents, max_turns=2)
    tracker = AutoGenBudgetTracker(
        "$1", llm_calls=5, agents={"bob": "$0.5"}, on_exhausted="raise", max_repeated_calls=None
    ).attach(team)
    await team.run(task="Talk.")
    spent, bobs = tracker.session.spent_nanos, tracker.agents["bob"].spent_nanos
    config = as_json(team)
    for participant in config["config"]["participants"]:  # dumped without its key
        participant["config"]["model_client"]["config"]["client"]["config"]["api_key"] = "test"
    ran = subprocess.run(  # noqa: ASYNC221, S603
        [sys.executable, "-W", "ignore", "-c", CODE],
        input=json.dumps(config), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["before"] == spent
    assert report["bob"] == bobs
    assert report["calls"] == 5
    assert report["after"] == provider.bill_nanos


async def test_loaded_when_the_first_is_gone(client, provider):
    """Loading twice gives one budget, and never a fresh one."""
    budgeted = BudgetedChatCompletionClient(client(), llm_calls=2, on_exhausted="raise")
    await budgeted.create(ASK)
    config = as_json(budgeted)
    budgeted.payers.session.close()
    first = ChatCompletionClient.load_component(config)
    second = ChatCompletionClient.load_component(config)
    assert first.payers.session is second.payers.session
    await first.create(ASK)
    with pytest.raises(BudgetExhausted):
        await second.create(ASK)
    assert provider.requests == 2
    assert first.payers.session.spent_nanos == provider.bill_nanos
    for each in (first, second):
        await each.close()


@pytest.mark.parametrize("how", ["cancelled", "finalized"])
async def test_a_session_that_is_over_stays_so(how, client, provider):
    budgeted = BudgetedChatCompletionClient(client(), "$1", finalization_reserve=0.1)
    budgeted.payers.session.ledger.close(budgeted.payers.session.id, how)
    config = as_json(budgeted)
    budgeted.payers.session._ended = 1.0  # as if in another process
    again = ChatCompletionClient.load_component(config)
    assert again.payers.session is not budgeted.payers.session
    with pytest.raises(BudgetExhausted):
        await again.create(ASK)
    assert provider.requests == 0
    await again.close()


def test_a_child_is_not_cut_anew():
    with AgentBudget("$0.05").session() as parent:
        child = parent.child_session("$0.03")
        child.track(cost=0.0162)
        kept = save(child)
        child.close()
    again = restore(kept)
    assert again is not child
    assert (again.limit, again.spent, again.remaining) == (0.03, 0.0162, 0.0138)
    assert again.parent.spent == 0.0162
