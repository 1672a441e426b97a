"""A tracker and what it is attached to."""

import copy

import pytest
from autogen_agentchat.agents import (
    AssistantAgent,
    BaseChatAgent,
    CodeExecutorAgent,
    SocietyOfMindAgent,
    UserProxyAgent,
)
from autogen_agentchat.base import Response
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_core import SingleThreadedAgentRuntime
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from autogen_ext.agents.openai import OpenAIAgent
from autogen_ext.models.replay import ReplayChatCompletionClient
from openai import AsyncOpenAI

from budget_autogen import AutoGenBudgetTracker, BudgetedChatCompletionClient, BudgetTermination
from budget_core import BudgetExhausted, Unbounded
from budget_core.testing import Reply, ToolCall


def test_attached_and_detached_it_is_as_it_was(client):
    inner = client()
    agent = AssistantAgent("alice", inner)
    tracker = AutoGenBudgetTracker("$1")
    assert tracker.attach(agent) is tracker
    assert isinstance(agent, AssistantAgent)
    assert isinstance(agent._model_client, BudgetedChatCompletionClient)
    first = agent._model_client
    tracker.attach(agent)
    assert agent._model_client is first
    assert agent.get_report()["session_id"] == tracker.session.id
    tracker.detach(agent)
    assert type(agent) is AssistantAgent
    assert agent._model_client is inner
    assert not hasattr(agent, "_budget_payers")


def test_a_team_and_everybody_in_it(client):
    names = ("alice", "bob", "carol")
    agents = {name: AssistantAgent(name, client()) for name in names}
    ends = MaxMessageTermination(9)
    inner = RoundRobinGroupChat([agents["alice"]], termination_condition=ends)
    society = SocietyOfMindAgent("society", RoundRobinGroupChat([agents["bob"]]), client())
    team = SelectorGroupChat(
        [inner, society, agents["carol"], UserProxyAgent("user")],
        client(),
        termination_condition=ends,
    )
    kinds = type(team), type(society)
    tracker = AutoGenBudgetTracker("$1").attach(team)
    for one in (team, inner, society, *agents.values()):
        assert one._budget_payers.trackers == (tracker,)
    assert isinstance(team._model_client, BudgetedChatCompletionClient)
    assert isinstance(team._termination_condition._conditions[1], BudgetTermination)
    tracker.detach()
    assert (type(team), type(society)) == kinds
    assert team._termination_condition is ends
    assert inner._termination_condition is ends
    assert type(agents["bob"]) is AssistantAgent


async def test_attached_by_two_both_pay(client, square):
    agent = AssistantAgent("alice", client())
    first, second = (AutoGenBudgetTracker(b).attach(agent) for b in ("$1", "$2"))
    await agent.run(task="Talk.")
    square(first.session)
    assert second.session.spent_nanos == first.session.spent_nanos
    first.detach()
    await agent.run(task="Talk.")
    assert second.session.spent_nanos > first.session.spent_nanos > 0


async def test_a_child_tracker(client, provider, square):
    alice, bob = (AssistantAgent(name, client()) for name in ("alice", "bob"))
    tracker = AutoGenBudgetTracker("$5", tool_costs={"search": 0.01}).attach(alice, bob)
    child = tracker.child_tracker("$2", bob, llm_calls=1, on_exhausted="raise")
    await alice.run(task="Talk.")
    await bob.run(task="Talk.")
    with pytest.raises(BudgetExhausted):
        await bob.run(task="More.")
    await alice.run(task="More.")
    assert child.session.parent is tracker.session
    assert child.session.spent_nanos == provider.bills[1].nanos
    assert child.tool_cost("search") == 10_000_000
    square(tracker.session)
    tracker.attach(bob)  # it pays already, around the child
    assert bob._budget_payers.trackers == (child,)


async def test_attached_after_the_first_run(client, provider, square):
    """The manager of a team keeps what the team had when it first ran."""
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    team = SelectorGroupChat(agents, client(), max_turns=1)
    provider.script(Reply("alice"), Reply("one"))
    await team.run(task="Talk.")
    tracker = AutoGenBudgetTracker("$1", llm_calls=4, finalization_reserve=0.1).attach(team)
    before = provider.bill_nanos
    provider.script(Reply("bob"), Reply("two"))
    await team.run(task="Talk.")
    assert tracker.session.spent_nanos == provider.bill_nanos - before
    provider.script(Reply("carol"), Reply("three"))
    result = await team.run(task="Talk.")
    assert tracker.session.finalized
    assert result.stop_reason.startswith("Budget finalized")


async def test_a_model_client_that_is_replaced(client, provider, square):
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    team = SelectorGroupChat(agents, client(), max_turns=1)
    tracker = AutoGenBudgetTracker("$1").attach(team)
    provider.script(Reply("alice"), Reply("one"), Reply("bob"), Reply("two"))
    await team.run(task="Talk.")
    team._model_client, agents[1]._model_client = client(), client()
    await team.run(task="Talk.")
    assert provider.requests == 4
    assert tracker.get_report()["breakdown"]["llm"]["calls"] == 4
    square(tracker.session)


SAY = [{"role": "user", "content": "Go on."}]


class Raw(BaseChatAgent):
    """An agent that calls the SDK itself."""

    def __init__(self, name, url):
        super().__init__(name, "Raw.")
        self.sdk = AsyncOpenAI(base_url=url, api_key="test", max_retries=0)

    @property
    def produced_message_types(self):
        return (TextMessage,)

    async def on_messages(self, messages, cancellation_token):
        said = [{"role": "user", "content": m.content} for m in messages] or SAY
        answer = await self.sdk.chat.completions.create(model="gpt-4o", messages=said)
        text = answer.choices[0].message.content
        return Response(chat_message=TextMessage(content=text, source=self.name))

    async def on_reset(self, cancellation_token):
        pass


@pytest.mark.parametrize("attached", ["agent", "team"])
async def test_an_agent_that_calls_the_sdk_itself(attached, provider, square):
    agent = Raw("raw", provider.openai_url)
    team = RoundRobinGroupChat([agent], max_turns=3)
    tracker = AutoGenBudgetTracker(llm_calls=2).attach(agent if attached == "agent" else team)
    if attached == "team":
        result = await team.run(task="Talk.")
        assert result.stop_reason.startswith("Budget exhausted")
    else:
        for _ in range(2):
            await agent.run(task="Talk.")
        with pytest.raises(BudgetExhausted):
            await agent.run(task="Talk.")
    assert provider.requests == 2
    square(tracker.session)
    await agent.sdk.close()


async def test_a_team_that_nobody_attached_in_the_trackers_with(client, provider, square):
    """Inside `with`, whoever makes a call of an SDK pays from the tracker."""
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    team = SelectorGroupChat(agents, client(), max_turns=2)
    provider.script(Reply("alice"), Reply("one"), Reply("bob"), Reply("two"))
    with AutoGenBudgetTracker("$1") as tracker:
        await team.run(task="Talk.")
    assert provider.requests == 4
    square(tracker.session)


class NoExecutor(CodeExecutor):
    async def execute_code_blocks(self, code_blocks: list[CodeBlock], cancellation_token):
        return CodeResult(exit_code=0, output="ran")

    async def start(self):
        pass

    async def stop(self):
        pass

    async def restart(self):
        pass


@pytest.mark.filterwarnings("ignore:No approval function")
async def test_an_agent_that_writes_code(client, provider, square):
    provider.script(Reply("```python\nprint(1)\n```"), Reply("It ran."))
    agent = CodeExecutorAgent("coder", NoExecutor(), model_client=client())
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    await agent.run(task="Print 1.")
    assert provider.requests == 2
    square(tracker.session)


async def test_an_agent_of_the_responses_api(provider, square):
    sdk = AsyncOpenAI(base_url=provider.openai_url, api_key="test", max_retries=0)
    agent = OpenAIAgent("raw", "Raw.", sdk, "gpt-4o", "Be brief.")
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    await agent.run(task="Talk.")
    assert provider.requests == 1
    square(tracker.session)
    await sdk.close()


async def test_a_runtime_of_ones_own(client, provider, square):
    runtime = SingleThreadedAgentRuntime()
    team = RoundRobinGroupChat([AssistantAgent("alice", client())], max_turns=2, runtime=runtime)
    tracker = AutoGenBudgetTracker("$1").attach(team)
    runtime.start()
    await team.run(task="Talk.")
    await runtime.stop()
    assert provider.requests == 2
    square(tracker.session)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_runs_of_the_assistants_api_are_refused(provider):
    async with AsyncOpenAI(base_url=provider.openai_url, api_key="test") as sdk:
        with AutoGenBudgetTracker("$1"), pytest.raises(Unbounded):
            await sdk.beta.threads.runs.create("thread", assistant_id="assistant")
    assert provider.requests == 0


async def test_a_child_that_is_detached_leaves_its_parent_paying(client, provider, square):
    agent = AssistantAgent("alice", client())
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    tracker.child_tracker("$0.50", agent).detach(agent)
    await agent.run(task="Talk.")
    assert provider.requests == 1
    square(tracker.session)


async def test_detached_after_a_run_a_team_is_free(client, provider):
    """Its manager keeps what it was made of."""
    agents = [AssistantAgent(name, client()) for name in ("alice", "bob", "carol")]
    team = SelectorGroupChat(agents, client(), max_turns=1)
    tracker = AutoGenBudgetTracker(llm_calls=2, finalization_reserve=0.1).attach(team)
    provider.script(Reply("alice"), Reply("one"), Reply("bob"), Reply("two"))
    await team.run(task="Talk.")
    tracker.detach()
    result = await team.run(task="Talk.")
    assert result.messages[-1].content == "two"
    assert provider.requests == 4
    assert tracker.session.balance().spent.llm_calls == 2


async def test_detached_in_the_middle_of_a_run(client, provider):
    tracker = AutoGenBudgetTracker("$1")

    def let_go() -> str:
        """Detach."""
        tracker.detach()
        return "gone"

    agent = AssistantAgent("alice", client(), tools=[let_go], max_tool_iterations=3)
    tracker.attach(agent)
    provider.script(Reply(tool_calls=[ToolCall("let_go", {})]), Reply("done"))
    result = await agent.run(task="Let go.")
    assert result.messages[-1].content == "done"
    assert tracker.session.spent_nanos == provider.bill_nanos  # the turn began under it
    assert tracker.session.reserved == 0


class Named(Raw):
    """An agent whose author has used our words."""

    def __init__(self, url):
        super().__init__("named", url)
        self.session, self.tracker, self.payers = "http session", "tracker", ["somebody"]
        self._team = "red"


async def test_an_agents_own_attributes_are_its_own(provider, square):
    agent = Named(provider.openai_url)
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    await agent.run(task="Talk.")
    assert (agent.session, agent.tracker, agent.payers) == ("http session", "tracker", ["somebody"])
    square(tracker.session)
    tracker.detach()
    assert type(agent) is Named
    await agent.sdk.close()


async def test_a_client_with_a_budget_is_given_back(client):
    budgeted = BudgetedChatCompletionClient(client(), "$1")
    agent = AssistantAgent("alice", budgeted)
    tracker = AutoGenBudgetTracker("$2").attach(agent)
    await agent.run(task="Talk.")
    assert tracker.session.spent_nanos == budgeted.payers.session.spent_nanos > 0
    tracker.detach()
    assert type(agent) is AssistantAgent
    assert agent._model_client is budgeted


def test_a_copy_spends_the_same_money():
    agent = AssistantAgent("alice", ReplayChatCompletionClient(["hi"]))
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    twin = copy.deepcopy(agent)
    assert twin.tracker is tracker


def test_wrong_input_is_told():
    tracker = AutoGenBudgetTracker("$1")
    with pytest.raises(TypeError, match="session= takes"):
        AutoGenBudgetTracker(session=tracker)
    for wrong in ("$5", None):
        with pytest.raises(TypeError, match="takes a tracker or a session"):
            BudgetTermination(wrong)
