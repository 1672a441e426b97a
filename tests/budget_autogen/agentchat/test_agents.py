"""Agents with budgets of their own, shared ones, and their tools."""

import asyncio

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.tools import AgentTool
from autogen_core.models import UserMessage
from openai import OpenAI

from budget_autogen import AutoGenBudgetTracker, BudgetTermination
from budget_autogen.agentchat import (
    BudgetedAssistantAgent,
    BudgetedChatCompletionClient,
    BudgetedUserProxyAgent,
)
from budget_core import AgentBudget, BudgetExhausted, LoopDetected, MemoryLedger
from budget_core.runtime.background import in_event_loop
from budget_core.testing import Reply, ToolCall


def searches(count):
    calls = (ToolCall("search", {"query": str(at)}) for at in range(count))
    return [Reply(tool_calls=[call], input_tokens=300, output_tokens=60) for call in calls]


@pytest.fixture
def alice(client, search_tool):
    def make(budget=None, **options):
        settings = {"tools": [search_tool], "max_tool_iterations": 9, **options}
        return BudgetedAssistantAgent("alice", client(), budget, **settings)

    return make


async def test_it_is_an_assistant_with_a_report(alice, provider, square):
    agent = alice("$1", tool_costs={"search": "$0.01"})
    provider.script(*searches(2), Reply("found it"))
    result = await agent.run(task="Search.")
    assert isinstance(agent, AssistantAgent)
    assert result.messages[-1].content == "found it"
    report = agent.get_report()
    assert report["breakdown"]["tools"]["by_tool"] == {"search": 0.02}
    assert report["breakdown"]["agents"]["by_agent"] == {"alice": agent.session.spent}
    assert agent.session.spent_nanos == provider.bill_nanos + 20_000_000
    assert agent.session.reserved == 0


async def test_a_tool_that_is_too_dear_is_told_to_the_model(alice, provider):
    agent = alice("$1", tool_costs={"search": "$2"})
    provider.script(*searches(1), Reply("I could not search."))
    result = await agent.run(task="Search.")
    assert result.messages[-1].content == "I could not search."
    assert "its budget is spent" in str(provider.bills[-1].body["messages"])
    assert agent.session.spent_nanos == provider.bill_nanos


async def test_a_tool_that_is_too_dear_is_raised_if_asked_for(alice, provider):
    agent = alice("$1", tool_costs={"search": "$2"}, on_exhausted="raise")
    provider.script(*searches(1))
    with pytest.raises(BudgetExhausted):
        await agent.run(task="Search.")
    assert agent.session.spent_nanos == provider.bill_nanos


async def test_a_limit_of_tool_calls(alice, provider, square):
    agent = alice(tool_calls=2)
    provider.script(*searches(3), Reply("enough"))
    await agent.run(task="Search.")
    assert agent.get_report()["breakdown"]["tools"]["calls"] == 2
    square(agent.session)


async def test_the_same_tool_call_again_and_again_is_a_loop(alice, provider):
    agent = alice("$1", max_repeated_calls=3, max_tool_iterations=20)
    call = ToolCall("search", {"query": "same"})
    provider.default = Reply(tool_calls=[call])
    with pytest.raises(LoopDetected):
        await agent.run(task="Search.")


async def test_twelve_agents_that_use_one_tool_alike_are_no_loop(client, provider, search_tool):
    call = ToolCall("search", {"query": "same"})
    provider.script(*[Reply(tool_calls=[call]), Reply("read")] * 12)
    budget = AutoGenBudgetTracker("$1", max_repeated_calls=3)
    for name in ["alice", "bob", "reader", "reader"] * 3:
        agent = AssistantAgent(name, client(), tools=[search_tool], reflect_on_tool_use=True)
        budget.attach(agent)
        await agent.run(task="Search.")
    assert budget.session.totals.tool_calls == 12


async def test_a_tool_that_fails_is_paid_for(client, provider):
    def broken(query: str) -> str:
        """Break."""
        raise RuntimeError(query)

    agent = BudgetedAssistantAgent(
        "alice", client(), "$1", tools=[broken], tool_costs={"broken": 0.01}
    )
    provider.script(Reply(tool_calls=[ToolCall("broken", {"query": "q"})]))
    await agent.run(task="Break.")
    assert agent.session.spent_nanos == provider.bill_nanos + 10_000_000
    assert agent.session.reserved == 0


async def test_what_a_tool_asks_of_a_model_is_paid_for(client, provider, square):
    other = client()

    async def ask(question: str) -> str:
        """Ask another model."""
        return (await other.create([UserMessage(content=question, source="alice")])).content

    agent = BudgetedAssistantAgent("alice", client(), "$1", tools=[ask])
    provider.script(Reply(tool_calls=[ToolCall("ask", {"question": "q"})]), Reply("said"))
    await agent.run(task="Ask.")
    assert agent.get_report()["breakdown"]["llm"]["calls"] == 2
    square(agent.session)


async def test_an_agent_within_a_tool_leaves_the_reserve_to_its_caller(client, provider, square):
    session = AgentBudget(llm_calls=3, finalization_reserve=0.1).session()
    helper = BudgetedAssistantAgent("helper", client(), session=session, description="Helps.")
    boss = BudgetedAssistantAgent(
        "boss", client(), session=session, tools=[AgentTool(helper)], max_tool_iterations=5
    )
    help_ = Reply(tool_calls=[ToolCall("helper", {"task": "help"})])
    provider.script(help_, Reply("helped"), Reply("all done"))
    result = await boss.run(task="Get help.")
    assert result.messages[-1].content == "all done"
    assert session.finalized
    square(session)


@pytest.mark.parametrize("streaming", [False, True])
async def test_two_budgets_in_one_team_pay_each_for_their_own(streaming, client, provider, square):
    stream = {"model_client_stream": streaming}
    alice = BudgetedAssistantAgent("alice", client(), "$1", **stream)
    bob = BudgetedAssistantAgent("bob", client(), "$1", **stream)
    provider.script(Reply("a", output_tokens=10), Reply("b", output_tokens=70))
    await RoundRobinGroupChat([alice, bob], max_turns=2).run(task="Talk.")
    square(alice.session, bob.session)
    assert alice.session.spent_nanos == provider.bills[0].nanos
    assert bob.session.spent_nanos == provider.bills[1].nanos


async def test_one_session_for_two_agents(client, provider, square):
    session = AgentBudget("$1").session()
    agents = [BudgetedAssistantAgent(n, client(), session=session) for n in ("alice", "bob")]
    await RoundRobinGroupChat(agents, max_turns=4).run(task="Talk.")
    assert provider.requests == 4
    square(session)
    assert set(session.report()["breakdown"]["agents"]["by_agent"]) == {"alice", "bob"}


async def test_a_team_with_an_agent_that_has_its_own_budget(client, provider, square):
    alice = BudgetedAssistantAgent("alice", client(), "$1")
    bob = AssistantAgent("bob", client())
    team = RoundRobinGroupChat([alice, bob], max_turns=2)
    tracker = AutoGenBudgetTracker("$2").attach(team)
    await team.run(task="Talk.")
    square(tracker.session)
    assert alice.session.spent_nanos == provider.bills[0].nanos


async def test_a_limit_for_one_agent(client, provider, square):
    agents = [AssistantAgent(name, client()) for name in ("alice", "critic")]
    provider.default = Reply("hm", input_tokens=100, output_tokens=500)
    team = RoundRobinGroupChat(agents, max_turns=20)
    tracker = AutoGenBudgetTracker(
        "$1", agents={"critic": "$0.02"}, finalization_reserve=0.3, max_repeated_calls=None
    ).attach(team)
    result = await team.run(task="Talk.")
    assert result.stop_reason.startswith("Budget of critic ")
    assert tracker.agents["critic"].spent <= 0.02
    assert tracker.session.spent > tracker.agents["critic"].spent
    square(tracker.session)


async def test_agents_that_run_at_once_share_one_budget(client, provider, square):
    provider.default = Reply(output_tokens=2_000)
    session = AgentBudget("$0.10", max_repeated_calls=None).session()
    agents = [
        BudgetedAssistantAgent(f"a{at}", client(), session=session, on_exhausted="raise")
        for at in range(12)
    ]
    runs = (agent.run(task=f"Task {at}") for at, agent in enumerate(agents))
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert {type(r) for r in results if isinstance(r, BaseException)} <= {BudgetExhausted}
    square(session)


async def test_a_client_with_a_budget_brings_it(client, square):
    budgeted = BudgetedChatCompletionClient(client(), "$1")
    agent = BudgetedAssistantAgent("alice", budgeted)
    await agent.run(task="Talk.")
    assert agent.session is budgeted.payers.session
    assert agent.get_report()["breakdown"]["agents"]["by_agent"] == {"alice": agent.session.spent}
    square(agent.session)


async def test_a_plain_agent_with_a_budgeted_client(client, square):
    budgeted = BudgetedChatCompletionClient(client(), llm_calls=1, finalization_reserve=0.1)
    result = await AssistantAgent("alice", budgeted).run(task="Talk.")
    assert result.messages[-1].content
    assert budgeted.payers.session.finalized
    square(budgeted.payers.session)


async def test_a_subclass(client, square):
    class Mine(BudgetedAssistantAgent):
        pass

    agent = Mine("alice", client(), budget="$1", system_message="Be brief.")
    await agent.run(task="Talk.")
    assert type(agent) is Mine
    square(agent.session)


def test_options_are_not_mixed_up(client):
    tracker = AutoGenBudgetTracker("$1")
    assert BudgetedUserProxyAgent("user", tracker=tracker).tracker is tracker
    with pytest.raises(TypeError, match="tracker="):
        BudgetedUserProxyAgent("user", "$1", tracker=tracker)
    with pytest.raises(TypeError, match="nonsense"):
        BudgetedUserProxyAgent("user", "$1", nonsense=1)


async def test_the_kill_switch(client, provider):
    agent = BudgetedAssistantAgent("alice", client(), "$1", finalization_reserve=0.1)
    agent.session.cancel()
    with pytest.raises(BudgetExhausted):
        await agent.run(task="Talk.")
    assert provider.requests == 0


async def test_a_callable_has_the_last_word_of_a_team(client, provider, square):
    team = RoundRobinGroupChat([AssistantAgent("alice", client())], max_turns=9)
    tracker = AutoGenBudgetTracker(llm_calls=2, on_exhausted=lambda _: "That is all.").attach(team)
    result = await team.run(task="Talk.")
    assert result.messages[-1].content == "That is all."
    assert result.stop_reason.startswith("Budget ")
    assert provider.requests == 2
    square(tracker.session)


async def test_a_spent_team_ends_at_once(client, provider):
    team = RoundRobinGroupChat([AssistantAgent("alice", client())], max_turns=3)
    tracker = AutoGenBudgetTracker(llm_calls=1).attach(team)
    await team.run(task="Talk.")
    assert (await team.run(task="More.")).stop_reason.startswith("Budget exhausted")
    assert provider.requests == 1
    tracker.session.top_up(llm_calls=5)
    assert (await team.run(task="More.")).stop_reason == "Maximum number of turns 3 reached."


async def test_termination_by_a_session(client, provider):
    session = AgentBudget(llm_calls=2).session()
    agents = [BudgetedAssistantAgent(n, client(), session=session) for n in ("alice", "bob")]
    team = RoundRobinGroupChat(agents, termination_condition=BudgetTermination(session))
    result = await team.run(task="Talk.")
    assert "2 LLM calls" in result.stop_reason
    assert provider.requests == 2


async def test_what_a_plain_function_asks_of_a_model_is_paid_for(client, provider, square):
    """AutoGen runs it in a thread that inherits nothing."""

    def ask(question: str) -> str:
        """Ask another model."""
        said = [{"role": "user", "content": question}]
        with OpenAI(base_url=provider.openai_url, api_key="test") as sdk:
            answer = sdk.chat.completions.create(model="gpt-4o", messages=said)
        return answer.choices[0].message.content

    agent = BudgetedAssistantAgent("alice", client(), "$1", tools=[ask], max_tool_iterations=3)
    calls = [Reply(tool_calls=[ToolCall("ask", {"question": q})]) for q in "qr"]
    provider.script(calls[0], Reply("said"), calls[1], Reply("said"), Reply("done"))
    await agent.run(task="Ask.")
    assert provider.requests == 5
    square(agent.session)


async def test_an_agent_with_a_budget_of_its_own_is_no_expense_of_whose_tool_it_is(
    client, provider, square
):
    helper = BudgetedAssistantAgent("helper", client(), "$1", description="Helps.")
    boss = BudgetedAssistantAgent(
        "boss", client(), "$1", tools=[AgentTool(helper)], max_tool_iterations=3
    )
    await helper.run(task="Alone.")
    assert boss.session.spent_nanos == 0
    help_ = Reply(tool_calls=[ToolCall("helper", {"task": "help"})])
    provider.script(help_, Reply("helped"), Reply("done"))
    await boss.run(task="Get help.")
    square(helper.session, boss.session, exact=False)  # what the tool asked is both's
    assert boss.session.spent_nanos == sum(bill.nanos for bill in provider.bills[1:])
    assert helper.session.spent_nanos == provider.bills[0].nanos + provider.bills[2].nanos


@pytest.mark.usefixtures("ledger_url")
async def test_teams_that_reach_the_limit_together_end_together(client, provider, square):
    provider.default = Reply("hm", input_tokens=300, output_tokens=60)
    teams = [
        RoundRobinGroupChat([AssistantAgent(f"a{at}", client())], max_turns=20, name=f"t{at}")
        for at in range(4)
    ]
    whole = AutoGenBudgetTracker("$1", max_repeated_calls=None)
    tracker = whole.child_tracker("$0.02", *teams, finalization_reserve=0.2)
    results = await asyncio.gather(*(team.run(task=f"Talk {at}.") for at, team in enumerate(teams)))
    assert all(result.stop_reason.startswith("Budget ") for result in results)
    assert tracker.session.finalized
    square(tracker.session)


@pytest.mark.usefixtures("ledger_url")
async def test_the_last_word_is_paid_by_whose_limit_it_was(client, provider, square):
    alice = BudgetedAssistantAgent(
        "alice", client(), "$5", finalization_reserve=0.1, max_repeated_calls=None
    )
    team = RoundRobinGroupChat([alice], max_turns=20)
    whole = AutoGenBudgetTracker("$5")
    tracker = whole.child_tracker(None, team, llm_calls=3, finalization_reserve=0.3)
    result = await team.run(task="Talk.")
    assert result.stop_reason.startswith("Budget finalized")
    assert tracker.session.finalized
    assert not alice.session.finalized
    assert provider.requests == 3
    square(tracker.session)
    tracker.detach()
    await alice.run(task="Still here.")
    assert provider.requests == 4


@pytest.mark.parametrize("kind", ["own", "child"])
async def test_a_budget_within_the_team_ends_the_run_as_well(kind, client, provider, square):
    limits = {"llm_calls": 2, "finalization_reserve": 0.1}
    bob = AssistantAgent("bob", client())
    alice = (
        AssistantAgent("alice", client())
        if kind == "child"
        else BudgetedAssistantAgent("alice", client(), **limits)
    )
    team = RoundRobinGroupChat([alice, bob], max_turns=20)
    tracker = AutoGenBudgetTracker("$5", max_repeated_calls=None).attach(team)
    if kind == "child":
        tracker.child_tracker(None, alice, **limits)
    result = await team.run(task="Talk.")
    assert result.stop_reason.startswith("Budget of alice finalized")
    assert provider.requests == 3
    square(tracker.session)


@pytest.mark.parametrize("why", ["price", "loop"])
async def test_in_a_team_the_error_of_a_tool_keeps_its_type(why, client, provider, search_tool):
    agent = AssistantAgent("alice", client(), tools=[search_tool], max_tool_iterations=20)
    options = {"tool_costs": {"search": 5}} if why == "price" else {"max_repeated_calls": 3}
    team = RoundRobinGroupChat([agent], max_turns=3)
    AutoGenBudgetTracker("$1", on_exhausted="raise", **options).attach(team)
    provider.default = Reply(tool_calls=[ToolCall("search", {"query": "same"})])
    with pytest.raises(BudgetExhausted if why == "price" else LoopDetected):
        await team.run(task="Search.")


async def test_a_limit_above_the_whole_is_cut(client):
    agent = AssistantAgent("writer", client())
    tracker = AutoGenBudgetTracker("$1", agents={"writer": "$20"}, finalization_reserve=0.1)
    child = tracker.attach(agent).child_tracker("$20", agent, finalization_reserve=0.1)
    assert tracker.agents["writer"].limit == child.session.limit == 0.9


class Lasting(MemoryLedger):
    """Records whether it was asked for a balance in an event loop."""

    blocks = True
    stopped = False

    def balance(self, account):
        self.stopped |= in_event_loop()
        return super().balance(account)


@pytest.mark.parametrize("on_exhausted", ["finalize", lambda _: "that was it"])
async def test_no_event_loop_waits_for_a_ledger(on_exhausted, client, provider):
    provider.default = Reply("hm", input_tokens=300, output_tokens=60)
    ledger = Lasting()
    team = RoundRobinGroupChat([AssistantAgent(name, client()) for name in ("alice", "bob")])
    settings = {"ledger": ledger, "max_repeated_calls": None, "finalization_reserve": 0.2}
    tracker = AutoGenBudgetTracker(llm_calls=4, on_exhausted=on_exhausted, **settings).attach(team)
    ledger.stopped = False
    result = await team.run(task="Talk.")
    assert not ledger.stopped
    assert result.stop_reason.startswith("Budget finalized")
    assert tracker.session.finalized
