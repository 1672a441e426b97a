"""Models that talk to the test provider, and every way of running them."""

import asyncio
import gc
import sys
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from budget_core.sdk import installing
from budget_core.sdk.anthropic import GUARD as anthropic_guard
from budget_core.sdk.openai import GUARD as openai_guard
from budget_core.testing import Reply, ToolCall

MODEL_WAYS = [
    "invoke",
    "stream",
    "batch",
    "generate",
    "ainvoke",
    "astream",
    "abatch",
    "agenerate",
    "astream_events",
]
AGENT_WAYS = ["invoke", "stream", "messages", "batch", "ainvoke", "astream", "abatch", "events"]


def pytest_generate_tests(metafunc):
    for name, ways in (("model_way", MODEL_WAYS), ("agent_way", AGENT_WAYS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, ways)


def pytest_collection_modifyitems(items):
    # LangChain's own: where one handler refuses, it forgets to await the others, and it keeps
    # its asynchronous clients beyond the end of the event loop
    forgotten = "ignore:coroutine 'ahandle_event' was never awaited:RuntimeWarning"
    unclosed = "ignore:unclosed:ResourceWarning"
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(forgotten))
            item.add_marker(pytest.mark.filterwarnings(unclosed))


CACHES = ("langchain_openai.chat_models._client_utils", "langchain_anthropic._client_utils")


@pytest.fixture(autouse=True)
def collected():
    """LangChain keeps its HTTP clients by URL: a port that comes again brings a dead loop's."""
    yield
    for module in CACHES:
        for cached in vars(sys.modules[module]).values():
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()
    gc.collect()


@pytest.fixture(params=["guarded", "unguarded"])
def guard_sdks(request):
    """Both with the guard on the SDK beneath, and with the callback alone."""
    if request.param == "unguarded":
        request.getfixturevalue("unguarded")
    return request.param == "guarded"


@pytest.fixture
def unguarded():
    guards = [openai_guard, anthropic_guard]
    for guard in guards:
        guard.uninstall()
    yield
    for guard in guards:
        if guard in installing._installed.values():
            guard.install()


@pytest.fixture
def gpt(provider):
    def make(**options):
        settings = {"model": "gpt-4o", "api_key": "test", "max_retries": 0, **options}
        return ChatOpenAI(base_url=provider.openai_url, stream_usage=True, **settings)

    return make


@pytest.fixture
def claude(provider):
    def make(**options):
        settings = {"model": "claude-sonnet-4-6", "api_key": "test", "max_retries": 0, **options}
        return ChatAnthropic(base_url=provider.anthropic_url, **settings)

    return make


@pytest.fixture
def square(provider):
    """Check the books against the provider's own."""

    def check(session, *, exact=True):
        provider.wait_idle()
        bill, spent = provider.bill_nanos, session.spent_nanos
        assert bill == spent if exact else bill <= spent
        limit = session.limits.lifelong("usd")
        assert limit is None or bill <= limit
        assert session.ledger.verify() == []
        assert session.reserved == 0

    return check


async def _consume(stream):
    async for _ in stream:
        pass


@pytest.fixture
def ask():
    """Ask a model one question, in any way; synchronous ways run where no event loop does."""

    def sync(way, model, text, config):
        match way:
            case "invoke":
                model.invoke(text, config)
            case "stream":
                list(model.stream(text, config))
            case "batch":
                model.batch([text], config)
            case "generate":
                model.generate([[HumanMessage(text)]], **(config or {}))

    async def run(way, model, text, config=None):
        match way:
            case "ainvoke":
                await model.ainvoke(text, config)
            case "astream":
                await _consume(model.astream(text, config))
            case "abatch":
                await model.abatch([text], config)
            case "agenerate":
                await model.agenerate([[HumanMessage(text)]], **(config or {}))
            case "astream_events":
                await _consume(model.astream_events(text, config, version="v2"))
            case _:
                await asyncio.to_thread(sync, way, model, text, config)

    return run


@pytest.fixture
def drive():
    """Run an agent, in any way; return its last state where the way tells it."""

    def sync(way, agent, state, config):
        match way:
            case "invoke":
                return agent.invoke(state, config)
            case "stream":
                return list(agent.stream(state, config, stream_mode="values"))[-1]
            case "messages":
                return list(agent.stream(state, config, stream_mode="messages")) and None
            case "batch":
                return agent.batch([state], config)[0]

    async def run(way, agent, state, config=None):
        if isinstance(state, str):
            state = {"messages": [("user", state)]}
        match way:
            case "ainvoke":
                return await agent.ainvoke(state, config)
            case "astream":
                states = agent.astream(state, config, stream_mode="values")
                return [each async for each in states][-1]
            case "abatch":
                return (await agent.abatch([state], config))[0]
            case "events":
                await _consume(agent.astream_events(state, config, version="v2"))
                return None
        return await asyncio.to_thread(sync, way, agent, state, config)

    return run


@tool
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@pytest.fixture
def search_tool():
    return search


@pytest.fixture
def researcher(search_tool):
    """An agent with one tool."""

    def make(model, *middleware, **options):
        return create_agent(model, [search_tool], middleware=list(middleware), **options)

    return make


@pytest.fixture
def eager(provider):
    """Let the provider's model call its tool for ever, as long as it may."""

    def reply(incoming):
        if not incoming.tools or incoming.body.get("tool_choice") == {"type": "none"}:
            return Reply("the end", input_tokens=500, output_tokens=100)
        call = ToolCall("search", {"query": str(incoming.index)})
        return Reply(tool_calls=[call], input_tokens=500, output_tokens=100)

    provider.respond(reply)
    return provider


@pytest.fixture
def steps(provider):
    """Let the provider's model search a number of times, and then answer."""

    def script(count):
        calls = [ToolCall("search", {"query": str(at)}) for at in range(count)]
        provider.script(
            *(Reply(tool_calls=[call], input_tokens=400, output_tokens=50) for call in calls),
            Reply("done", input_tokens=400, output_tokens=50),
        )

    return script
