"""A limit of its own for each agent, by its name."""

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from budget_core import BudgetExhausted
from budget_core.testing import Reply, ToolCall
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

GO = {"messages": [("user", "go")]}


@pytest.fixture
def team(provider, gpt, search_tool):
    """A boss that has a researcher for a tool, who searches for ever."""

    def make(*middleware):
        researcher = create_agent(
            gpt(), [search_tool], name="researcher", middleware=list(middleware)
        )

        @tool
        def research(topic: str) -> str:
            """Research a topic."""
            return researcher.invoke({"messages": [("user", topic)]})["messages"][-1].content

        return create_agent(gpt(), [research], name="boss", middleware=list(middleware))

    def reply(incoming):
        if "research" in incoming.tools and incoming.messages[-1]["role"] != "tool":
            call = ToolCall("research", {"topic": "it"})
            return Reply(tool_calls=[call], input_tokens=300, output_tokens=20)
        if "search" in incoming.tools:
            call = ToolCall("search", {"query": str(incoming.index)})
            return Reply(tool_calls=[call], input_tokens=300, output_tokens=20)
        return Reply("summary", input_tokens=300, output_tokens=20)

    provider.respond(reply)
    return make


def test_an_agent_is_stopped_at_its_own_limit(provider, team, square):
    callback = LangChainBudgetCallback("$1", agents={"researcher": "$0.02"})
    with pytest.raises(BudgetExhausted) as raised:
        team().invoke(GO, {"callbacks": [callback]})
    (child,) = callback.session.children()
    assert raised.value.account == child.id
    assert 0 < child.spent_nanos <= 20_000_000
    square(callback.session)
    by_agent = callback.get_report()["breakdown"]["agents"]["by_agent"]
    assert by_agent["researcher"] == pytest.approx(child.spent)
    assert by_agent["boss"] == pytest.approx(callback.session.spent - child.spent)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_boss_goes_on_when_its_agent_is_stopped(provider, team, asynchronous, square):
    callback = LangChainBudgetCallback("$1", agents={"researcher": "$0.02"})
    agent = team(BudgetMiddleware(callback, on_exhausted="finalize"))
    state = await agent.ainvoke(GO) if asynchronous else agent.invoke(GO)
    assert state["messages"][-1].content == "summary"
    square(callback.session)


def test_the_reserve_is_left_to_the_agent_that_answers(provider, team, square):
    callback = LangChainBudgetCallback("$0.03", finalization_reserve="$0.01")
    state = team(BudgetMiddleware(callback)).invoke(GO)
    assert state["messages"][-1].content == "summary"
    assert "budget" in state["messages"][-2].content
    square(callback.session)


def test_an_agents_limit_covers_the_agents_it_uses(provider, team):
    callback = LangChainBudgetCallback("$1", agents={"boss": "$0.02"})
    with pytest.raises(BudgetExhausted) as raised:
        team().invoke(GO, {"callbacks": [callback]})
    (boss,) = callback.session.children()
    assert raised.value.account == boss.id
    assert boss.spent_nanos == callback.session.spent_nanos == provider.bill_nanos <= 20_000_000


def test_a_limit_for_a_node(provider, gpt):
    model = gpt()
    graph = StateGraph(MessagesState)
    for name in ("plan", "write"):
        graph.add_node(name, lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "write")
    callback = LangChainBudgetCallback("$1", agents={"write": "$0.00001"})
    with pytest.raises(BudgetExhausted):
        graph.compile().invoke(GO, {"callbacks": [callback]})
    assert provider.requests == 1
    assert list(callback.get_report()["breakdown"]["agents"]["by_agent"]) == ["plan"]
