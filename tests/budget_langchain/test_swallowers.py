"""Whatever catches, retries or falls back: no more is spent than the budget."""

import operator
from typing import Annotated, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import RetryPolicy, Send

from budget_core import AgentBudgetError, BudgetExhausted
from budget_core.testing import Reply, ToolCall
from budget_langchain import LangChainBudgetCallback

LIMIT = "$0.02"
GO = {"messages": [("user", "go")]}


@pytest.fixture
def swallowing(gpt):
    """A tool that asks a model, and swallows whatever goes wrong."""

    @tool
    def search(query: str) -> str:
        """Search the web."""
        try:
            return gpt().invoke(query).content
        except Exception as error:
            return repr(error)

    return search


@pytest.fixture
def asking(gpt):
    @tool
    def search(query: str) -> str:
        """Search the web."""
        return gpt().invoke(query).content

    return search


def looped(model, tools, **options):
    graph = StateGraph(MessagesState)
    bound = model.bind_tools(tools)
    graph.add_node("think", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(tools, **options))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile()


def retrying(model):
    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=3)
    graph.add_node(
        "think", lambda s: {"messages": [model.invoke(s["messages"])]}, retry_policy=policy
    )
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", lambda state: "think", {"think": "think", "end": END})
    return graph.compile()


def in_turn(runnable):
    class Repeated:
        def invoke(self, state, config):
            for at in range(50):
                runnable.invoke(f"question {at}", config)

    return Repeated()


ROWS = {
    "create_agent": lambda gpt, t: create_agent(gpt(), [t.plain]),
    "ToolNode": lambda gpt, t: looped(gpt(), [t.asking]),
    "handle_tool_errors": lambda gpt, t: looped(gpt(), [t.asking], handle_tool_errors=True),
    "ModelRetry": lambda gpt, t: create_agent(
        gpt(), [t.plain], middleware=[ModelRetryMiddleware(initial_delay=0, jitter=False)]
    ),
    "ToolRetry": lambda gpt, t: create_agent(
        gpt(), [t.asking], middleware=[ToolRetryMiddleware(initial_delay=0, jitter=False)]
    ),
    "ModelFallback": lambda gpt, t: create_agent(
        gpt(), [t.plain], middleware=[ModelFallbackMiddleware(gpt(model="gpt-4.1"))]
    ),
    "RetryPolicy": lambda gpt, t: retrying(gpt()),
    "with_retry": lambda gpt, t: in_turn(gpt().with_retry(wait_exponential_jitter=False)),
    "with_fallbacks": lambda gpt, t: in_turn(gpt().with_fallbacks([gpt(model="gpt-4.1")])),
    "except Exception": lambda gpt, t: create_agent(gpt(), [t.swallowing]),
}


@pytest.mark.parametrize("row", ROWS)
def test_no_swallower_leaks_money(
    eager, gpt, row, search_tool, asking, swallowing, guard_sdks, square
):
    class Tools:
        plain = search_tool

    Tools.asking, Tools.swallowing = asking, swallowing
    callback = LangChainBudgetCallback(LIMIT, guard_sdks=guard_sdks, max_repeated_calls=None)
    agent = ROWS[row](gpt, Tools)
    with pytest.raises((AgentBudgetError, GraphRecursionError)):
        agent.invoke(GO, {"callbacks": [callback], "recursion_limit": 60})
    assert 3 <= eager.requests <= 10
    square(callback.session)
    assert callback.session.terminated_by == "budget_exhausted"


def test_a_refusal_passes_the_handlers_of_langgraph_at_once(eager, gpt, search_tool):
    callback = LangChainBudgetCallback("$1", tool_calls=1)
    with pytest.raises(BudgetExhausted):
        looped(gpt(), [search_tool], handle_tool_errors=True).invoke(GO, {"callbacks": [callback]})
    assert eager.requests == 2


class Fan(TypedDict):
    answers: Annotated[list[str], operator.add]


async def test_send_is_held_in_every_branch(provider, gpt, square):
    provider.default = Reply("x", input_tokens=400, output_tokens=50)
    model = gpt(max_tokens=50)

    def answer(state):
        return {"answers": [model.invoke(state["question"]).content]}

    graph = StateGraph(Fan)
    graph.add_node("answer", answer)
    graph.add_conditional_edges(
        START, lambda _: [Send("answer", {"question": f"q{at}"}) for at in range(40)], ["answer"]
    )
    graph.add_edge("answer", END)
    callback = LangChainBudgetCallback("$0.02", max_repeated_calls=None)
    with pytest.raises(BudgetExhausted):
        graph.compile().invoke({"answers": []}, {"callbacks": [callback], "max_concurrency": 20})
    square(callback.session, exact=False)


def test_a_subgraph_is_held(eager, gpt, search_tool, square):
    inner = create_agent(gpt(), [search_tool])
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    callback = LangChainBudgetCallback("$1", llm_calls=2)
    with pytest.raises(BudgetExhausted):
        outer.compile().invoke(GO, {"callbacks": [callback]})
    assert eager.requests == 2
    square(callback.session)


def test_deep_nesting_is_held(provider, gpt, square):
    def delegating(agent):
        @tool
        def delegate(task: str) -> str:
            """Delegate."""
            return agent.invoke({"messages": [("user", task)]})["messages"][-1].content

        return delegate

    agent = create_agent(gpt(), [], name="level0")
    for level in (1, 2, 3):
        agent = create_agent(gpt(), [delegating(agent)], name=f"level{level}")

    def reply(incoming):
        if incoming.tools and incoming.messages[-1]["role"] != "tool":
            return Reply(tool_calls=[ToolCall("delegate", {"task": "down"})])
        return Reply("up")

    provider.respond(reply)
    callback = LangChainBudgetCallback("$1")
    agent.invoke(GO, {"callbacks": [callback]})
    assert provider.requests == 7
    square(callback.session)
    assert set(callback.get_report()["breakdown"]["agents"]["by_agent"]) >= {"level0", "level3"}
