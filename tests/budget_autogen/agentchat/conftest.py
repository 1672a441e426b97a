"""Model clients that talk to the test provider, and every shape of run that AgentChat has."""

import asyncio
import json
from pathlib import Path

import pytest
from autogen_agentchat.agents import AssistantAgent, SocietyOfMindAgent
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import (
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_agentchat.tools import AgentTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

from budget_core.sdk import installing
from budget_core.sdk.openai import GUARD as openai_guard
from budget_core.testing import Reply, ToolCall


def pytest_collection_modifyitems(items):
    mine = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in mine:
        # the provider answers with a dated model, as OpenAI does
        item.add_marker(pytest.mark.filterwarnings("ignore:Resolved model mismatch"))
        item.add_marker(pytest.mark.filterwarnings("ignore:Finish reason mismatch"))
        item.add_marker(pytest.mark.filterwarnings("ignore:.*\\n.*SECURITY WARNING"))
        # AutoGen leaves the connection of a stream that is broken off
        item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
        # AutoGen dumps answers that it has parsed
        item.add_marker(pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"))


@pytest.fixture
async def client(provider):
    made = []

    def make(**settings):
        settings = {"model": "gpt-4o", "api_key": "test", "max_retries": 0, **settings}
        made.append(OpenAIChatCompletionClient(base_url=provider.openai_url, **settings))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def unguarded():
    """No guard on the SDK: the wrapper alone."""
    installed = installing._installed.pop("openai", None)
    openai_guard.uninstall()
    yield
    if installed is not None:
        openai_guard.install()
        installing._installed["openai"] = installed


@pytest.fixture(params=["guarded", "unguarded"])
def guard_sdks(request):
    """Both with the guard on the SDK beneath, and with the wrapper alone."""
    if request.param == "unguarded":
        request.getfixturevalue("unguarded")
    return request.param == "guarded"


@pytest.fixture
def square(provider):
    """Check the books against the provider's own."""

    def check(*sessions, exact=True):
        provider.wait_idle()
        bill, spent = provider.bill_nanos, sum(session.spent_nanos for session in sessions)
        assert bill == spent if exact else bill <= spent
        for session in sessions:
            limit = session.limits.lifelong("usd")
            assert limit is None or session.spent_nanos <= limit
            assert session.ledger.verify() == []
            assert session.reserved == 0

    return check


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@pytest.fixture
def search_tool():
    return search


class Answer(BaseModel):
    text: str


def says(text, **settings):
    return Reply(text, **{"input_tokens": 300, "output_tokens": 60, **settings})


def calls(name, **arguments):
    return says("", tool_calls=[ToolCall(name, arguments)])


def ledger(speaker, *, satisfied):
    part = {"reason": "so it is", "answer": satisfied}
    return says(
        json.dumps(
            {
                "is_request_satisfied": part,
                "is_in_loop": {"reason": "no", "answer": False},
                "is_progress_being_made": {"reason": "yes", "answer": True},
                "next_speaker": {"reason": "their turn", "answer": speaker},
                "instruction_or_question": {"reason": "to get on", "answer": "Go on."},
            }
        )
    )


class Scenario:
    """A run: who runs, on which task, and what the model answers."""

    def __init__(self, build, *replies):
        self.build = build
        self.replies = replies

    async def run(self, runnable):
        return await asyncio.wait_for(runnable.run(task="What do you know?"), 30)


def single(client):
    return AssistantAgent("alice", client())


def streaming(client):
    return AssistantAgent("alice", client(), model_client_stream=True)


def with_tools(client, **settings):
    settings = {"tools": [search], "max_tool_iterations": 9, **settings}
    return AssistantAgent("alice", client(), **settings)


def reflecting(client):
    return with_tools(client, max_tool_iterations=1, reflect_on_tool_use=True)


def structured(client):
    return AssistantAgent("alice", client(), output_content_type=Answer)


def round_robin(client):
    return RoundRobinGroupChat([with_tools(client), AssistantAgent("bob", client())], max_turns=3)


def selector(client):
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    return SelectorGroupChat(agents, client(), max_turns=3)


def swarm(client):
    alice = AssistantAgent("alice", client(), handoffs=["bob"])
    bob = AssistantAgent("bob", client(), handoffs=["alice"])
    return Swarm([alice, bob], termination_condition=TextMentionTermination("goodbye"))


def magentic(client):
    return MagenticOneGroupChat([AssistantAgent("alice", client())], client())


def nested(client):
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    inner = RoundRobinGroupChat(agents[:2], max_turns=2, name="inner")
    return RoundRobinGroupChat([inner, agents[2]], max_turns=2)


def society(client):
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob")]
    inner = RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(3))
    return SocietyOfMindAgent("society", inner, client())


def agent_tool(client):
    helper = AgentTool(AssistantAgent("helper", client(), description="Helps."))
    return AssistantAgent("alice", client(), tools=[helper], max_tool_iterations=3)


SCENARIOS = {
    "single": Scenario(single, says("hello")),
    "streaming": Scenario(streaming, says("hello there you")),
    "tools": Scenario(with_tools, calls("search", query="a"), calls("search", query="b"), says("c")),
    "reflecting": Scenario(reflecting, calls("search", query="a"), says("b")),
    "structured": Scenario(structured, says('{"text": "yes"}')),
    "round_robin": Scenario(
        round_robin, calls("search", query="a"), says("one"), says("two"), says("three")
    ),
    "selector": Scenario(
        selector, says("alice"), says("one"), says("bob"), says("two"), says("alice"), says("three")
    ),
    "swarm": Scenario(
        swarm, calls("transfer_to_bob"), says("hm"), calls("transfer_to_alice"), says("goodbye")
    ),
    "magentic": Scenario(
        magentic,
        says("facts"), says("plan"),
        ledger("alice", satisfied=False), says("found it"),
        ledger("alice", satisfied=True), says("the end"),
    ),
    "nested": Scenario(nested, says("one"), says("two"), says("three")),
    "society": Scenario(society, says("one"), says("two"), says("three")),
    "agent_tool": Scenario(
        agent_tool, calls("helper", task="help"), says("helped"), says("done")
    ),
}  # fmt: skip

SPEAKING = [name for name in SCENARIOS if name != "magentic"]
"""Runs in which whoever is refused, or somebody in their place, may have the last word."""


def steps():
    """Return every scenario with every call of it."""
    return [(name, k) for name, run in SCENARIOS.items() for k in range(1, len(run.replies) + 1)]


def pytest_generate_tests(metafunc):
    if "tripping" in metafunc.fixturenames:
        cases = [(name, k) for name, k in steps()]
        metafunc.parametrize("tripping", cases, ids=[f"{name}-{k}" for name, k in cases])
    if "speaking" in metafunc.fixturenames:
        cases = [(name, k) for name, k in steps() if name in SPEAKING and k > 1]
        metafunc.parametrize("speaking", cases, ids=[f"{name}-{k}" for name, k in cases])
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", SCENARIOS)


@pytest.fixture
def begin(provider, client):
    """Prepare a scenario: script the provider, build who runs."""

    def prepare(name):
        scenario = SCENARIOS[name]
        provider.script(*scenario.replies)
        return scenario, scenario.build(client)

    return prepare
