"""Whatever fails between a framework and the wire: nothing is sent that is not held."""

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from budget_core import BudgetSession, Call
from budget_core.errors import CallRefused
from budget_core.frameworks import parameters
from budget_core.testing import Reply
from budget_langchain import (
    BudgetMiddleware,
    LangChainBudgetCallback,
    models,
    paying,
    requests,
    runs,
)
from budget_langchain import callback as callbacks
from budget_langchain import middleware as middlewares

PLACES = [
    (LangChainBudgetCallback, "guard"),
    (LangChainBudgetCallback, "session_for"),
    (LangChainBudgetCallback, "session_of"),
    (LangChainBudgetCallback, "_start_model"),
    (LangChainBudgetCallback, "_keep"),
    (callbacks, "agent_name"),
    (callbacks, "model_request"),
    (requests, "agent_name"),
    (requests, "bubble"),
    (parameters, "message_fingerprint"),
    (requests, "model_name"),
    (parameters, "own_cap"),
    (requests, "prompt_of"),
    (parameters, "unbounded_in"),
    (paying, "_missing"),
    (paying, "around"),
    (paying, "model_run"),
    (paying, "Run"),
    (runs, "known"),
    (runs, "remember"),
    (runs, "taken_offer"),
    (BudgetSession, "open_call"),
    (BudgetSession, "open_call_async"),
]
MIDDLEWARE = [
    (middlewares, "_shape"),
    (middlewares, "agent_request"),
    (middlewares, "cap_setting"),
    (middlewares, "thinking_budget"),
    (middlewares, "Offer"),
    (middlewares, "offering"),
    (models, "model_request"),
    (models, "prompt_of"),
    (Call, "reprice"),
    (Call, "_reprice"),
]
TOOL_PLACES = [
    (LangChainBudgetCallback, "session_for"),
    (LangChainBudgetCallback, "tool_request"),
    (LangChainBudgetCallback, "_keep"),
    (callbacks, "bubble"),
    (paying, "tool_run"),
    (runs, "known"),
    (runs, "remember"),
]


def named(places):
    return [pytest.param(*place, id=f"{place[0].__name__}.{place[1]}") for place in places]


@pytest.fixture(params=["sync", "async"])
def invoke(request):
    async def run(thing, *given):
        if request.param == "async":
            return await thing.ainvoke(*given)
        return thing.invoke(*given)

    return run


@pytest.fixture
def breaking(monkeypatch):
    """Let a function raise, and count how often it was called."""

    def breaks(place, name):
        def broken(*_, **__):
            calls.append(name)
            raise ZeroDivisionError(name)

        calls = []
        monkeypatch.setattr(place, name, broken)
        return calls

    return breaks


@pytest.mark.parametrize(("place", "name"), named(PLACES))
async def test_a_callback(place, name, breaking, invoke, gpt, provider, unguarded):
    callback = LangChainBudgetCallback("$1", guard_sdks=False)
    calls = breaking(place, name)
    try:
        await invoke(gpt(), "Hello", {"callbacks": [callback]})
    except (CallRefused, ZeroDivisionError):
        assert calls
        assert provider.requests == 0
        assert callback.session.spent_nanos == 0
    else:  # it is not on this way
        assert calls == []
        assert provider.bill_nanos == callback.session.spent_nanos > 0
    assert callback.session.reserved == 0


@pytest.mark.parametrize(("place", "name"), named(PLACES + MIDDLEWARE))
async def test_a_middleware(
    place, name, breaking, invoke, researcher, gpt, provider, guard_sdks, square
):
    middleware = BudgetMiddleware("$1", guard_sdks=guard_sdks)
    agent = researcher(gpt(), middleware)
    calls = breaking(place, name)
    provider.default = Reply("done", input_tokens=400, output_tokens=50)
    try:
        await invoke(agent, {"messages": [("user", "go")]})
    except (CallRefused, ZeroDivisionError):
        assert calls
        assert provider.requests == 0
        assert middleware.session.spent_nanos == 0
    square(middleware.session)


@pytest.mark.parametrize(("place", "name"), named(TOOL_PLACES))
@pytest.mark.parametrize("kind", ["callback", "middleware"])
async def test_a_tool(place, name, kind, breaking, invoke, researcher, provider, gpt, steps):
    ran = []

    def search(query: str) -> str:
        """Search."""
        breaking(place, name)
        return "found"

    def other(query: str) -> str:
        """Run a tool that costs money."""
        ran.append(query)
        return "found"

    callback = LangChainBudgetCallback("$1", tool_costs={"search": "$0.01"})
    from langchain_core.tools import tool

    first, then = tool(search), tool(other)
    config = {"callbacks": [callback]}
    await invoke(first, {"query": "1"}, config)
    with pytest.raises((CallRefused, ZeroDivisionError)):
        await invoke(then, {"query": "2"}, config)
    assert ran == []
    assert callback.session.spent == 0.01
    assert callback.session.reserved == 0


async def test_a_bug_is_told_with_where_it_was(breaking, invoke):
    model = GenericFakeChatModel(messages=iter([AIMessage("fine")]))
    breaking(callbacks, "model_request")
    with pytest.raises(CallRefused, match=r"ZeroDivisionError.*on_chat_model_start") as caught:
        await invoke(model, "hi", {"callbacks": [LangChainBudgetCallback("$1")]})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    from langgraph.errors import GraphBubbleUp

    assert isinstance(caught.value, GraphBubbleUp)  # which nothing in a graph swallows
