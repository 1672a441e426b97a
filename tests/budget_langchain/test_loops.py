"""Twelve agents that each read one file once are no loop; one that goes on reading it is."""

import operator
from typing import Annotated, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send

from budget_core import LoopDetected
from budget_core.testing import Reply, ToolCall
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

GO = {"messages": [("user", "What does it say?")]}


@tool
def read_file(path: str) -> str:
    """Read a file."""
    return f"all of {path}"


@pytest.fixture
def reading(provider):
    """Let each agent read the same file once."""

    def respond(incoming):
        if any(message["role"] == "tool" for message in incoming.messages[-1:]):
            return Reply("read")
        return Reply(tool_calls=[ToolCall("read_file", {"path": "README.md"})])

    provider.respond(respond)


def one_after_the_other(gpt):
    for at in range(12):
        create_agent(gpt(), [read_file], name=f"reader_{at}").invoke(GO)


def without_names(gpt):
    for _ in range(12):
        create_agent(gpt(), [read_file]).invoke(GO)


def sent_out(gpt):
    """Twelve of one name in one graph."""
    reader = create_agent(gpt(), [read_file], name="reader")

    class Read(TypedDict):
        read: Annotated[list, operator.add]

    graph = StateGraph(Read)
    graph.add_node("read", lambda _: reader.invoke(GO) and {"read": [1]}).add_edge("read", END)
    graph.add_conditional_edges(START, lambda _: [Send("read", {}) for _ in range(12)])
    graph.compile().invoke({"read": []}, {"max_concurrency": 1})


def sent_tools(gpt):
    class Read(TypedDict):
        read: Annotated[list, operator.add]

    def read(_):
        return {"read": [read_file.invoke({"path": "README.md"})]}

    graph = StateGraph(Read).add_node("read", read).add_edge("read", END)
    graph.add_conditional_edges(START, lambda _: [Send("read", {}) for _ in range(12)])
    graph.compile().invoke({"read": []}, {"max_concurrency": 1})


def used_as_tools(gpt):
    reader = create_agent(gpt(), [read_file], name="reader")
    for at in range(12):

        @tool
        def ask(question: str) -> str:
            """Ask."""
            return reader.invoke(GO)["messages"][-1].text

        ask.invoke({"question": str(at)})


WAYS = [one_after_the_other, without_names, sent_out, sent_tools, used_as_tools]


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("way", WAYS)
def test_twelve_agents_that_read_one_file(gpt, square, way):
    with LangChainBudgetCallback("$5", max_repeated_calls=3) as callback:
        way(gpt)
    assert callback.session.totals.tool_calls >= 12
    assert callback._places._places == {}
    square(callback.session)


@pytest.mark.usefixtures("reading")
def test_twelve_with_one_middleware(gpt, square):
    budget = BudgetMiddleware("$5", max_repeated_calls=3)
    for _ in range(12):
        create_agent(gpt(), [read_file], middleware=[budget]).invoke(GO)
    square(budget.session)


@pytest.mark.parametrize("middleware", [True, False])
def test_one_that_goes_on_reading(provider, gpt, square, middleware):
    provider.default = Reply(tool_calls=[ToolCall("read_file", {"path": "README.md"})])
    budget = BudgetMiddleware("$5", max_repeated_calls=3)
    agent = create_agent(gpt(), [read_file], middleware=[budget] if middleware else [])
    config = {} if middleware else {"callbacks": [budget.callback]}
    with pytest.raises(LoopDetected):
        agent.invoke(GO, config)
    square(budget.session)


def test_two_that_hand_over_to_each_other(provider, gpt, square):
    """Each is begun anew every time."""

    @tool
    def over_to(name: str) -> Command:
        """Hand over."""
        return Command(goto=name, graph=Command.PARENT)

    def respond(incoming):
        other = "a" if incoming.messages[0]["content"] == "You are b." else "b"
        return Reply(tool_calls=[ToolCall("over_to", {"name": other})])

    provider.respond(respond)
    graph = StateGraph(MessagesState).add_edge(START, "a")
    for name in "ab":
        agent = create_agent(gpt(), [over_to], name=name, system_prompt=f"You are {name}.")
        graph.add_node(name, agent, destinations=("a", "b"))
    callback = LangChainBudgetCallback("$5", max_repeated_calls=3)
    with pytest.raises(LoopDetected):
        graph.compile().invoke(GO, {"callbacks": [callback], "recursion_limit": 200})
    assert provider.requests < 12
    square(callback.session)
