"""What LangChain tells late, wrongly, or not at all."""

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from budget_core import BudgetExhausted, LoopDetected, register_model
from budget_core.testing import Reply, ToolCall
from budget_langchain import LangChainBudgetCallback

PROMPTS = [[HumanMessage("one")], [HumanMessage("two")], [HumanMessage("three")]]


class Scripted(GenericFakeChatModel):
    """A model that no SDK guard sees."""

    model: str = "scripted-model"

    def __init__(self, *messages, **fields):
        super().__init__(messages=iter(messages), **fields)


@pytest.fixture(autouse=True)
def price():
    register_model("scripted-model", 1, 10, max_output_tokens=1_000)


def said(text, before, after):
    usage = {"input_tokens": before, "output_tokens": after, "total_tokens": before + after}
    return AIMessage(text, usage_metadata=usage)


@pytest.fixture
def cache():
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


async def test_an_answer_from_the_cache_is_free(provider, gpt, cache, guard_sdks, square):
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    for _ in range(3):
        gpt().invoke("hi", {"callbacks": [callback]})
        await gpt().ainvoke("hi", {"callbacks": [callback]})
    assert provider.requests == 1
    square(callback.session)


def test_a_refusal_within_generate_gives_everything_back(provider, gpt, guard_sdks, square):
    callback = LangChainBudgetCallback("$1", llm_calls=2, guard_sdks=guard_sdks)
    with pytest.raises(BudgetExhausted):
        gpt().generate(PROMPTS, callbacks=[callback])
    assert provider.requests == 0
    assert callback.session.balance().spent.llm_calls == 0
    square(callback.session)


async def test_a_refusal_within_agenerate_gives_everything_back(provider, gpt, guard_sdks, square):
    callback = LangChainBudgetCallback("$1", llm_calls=2, guard_sdks=guard_sdks)
    with pytest.raises(BudgetExhausted):
        await gpt().agenerate(PROMPTS, callbacks=[callback])
    assert provider.requests == 0
    square(callback.session)


def test_generate_that_fails_in_the_middle_is_settled(provider, gpt, guard_sdks, square):
    provider.script(Reply("ok"), Reply(status=400))
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    with pytest.raises(Exception, match="400"):
        gpt().generate(PROMPTS, callbacks=[callback])
    assert provider.requests == 2
    # unguarded, nobody tells what the first answer used: it is charged in full
    square(callback.session, exact=guard_sdks)


class Rude(BaseCallbackHandler):
    raise_error = True

    def on_chat_model_start(self, *args, **kwargs):
        raise KeyError("rude")


def test_a_hold_that_another_handler_leaks_ends_with_the_callback(provider, gpt, square):
    with LangChainBudgetCallback("$1") as callback, pytest.raises(KeyError):
        gpt().invoke("hi", {"callbacks": [callback, Rude()]})
    assert provider.requests == 0
    square(callback.session, exact=False)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("maker", ["gpt", "claude"])
def test_a_refused_request_costs_nothing(provider, request, maker, status, guard_sdks, square):
    provider.script(Reply(status=status))
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    with pytest.raises(Exception, match=str(status)):
        request.getfixturevalue(maker)().invoke("hi", {"callbacks": [callback]})
    assert provider.bill_nanos == 0
    square(callback.session)


def test_a_connection_that_was_never_made_costs_nothing(gpt, guard_sdks):
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    model = gpt().model_copy()
    with httpx.Client(base_url="http://127.0.0.1:9") as client:
        broken = type(model)(
            model="gpt-4o",
            base_url="http://127.0.0.1:9",
            api_key="x",
            max_retries=0,
            http_client=client,
        )
        with pytest.raises(Exception, match=r"[Cc]onnect"):
            broken.invoke("hi", {"callbacks": [callback]})
    assert callback.session.spent_nanos == 0
    assert callback.session.reserved == 0


def test_a_dropped_answer_is_charged(provider, gpt, guard_sdks, square):
    provider.script(Reply("abcd" * 50, drop_after=3))
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    with pytest.raises(Exception, match=r"[Cc]onn|peer|incomplete|chunked"):
        list(gpt().stream("hi", {"callbacks": [callback]}))
    assert provider.bill_nanos > 0
    square(callback.session, exact=False)


def test_a_retry_of_the_sdk_is_charged_too(provider, gpt, square):
    provider.script(Reply("x", status=500, billed=True, retry_after=0), Reply("ok"))
    callback = LangChainBudgetCallback("$1")
    gpt(max_retries=2).invoke("hi", {"callbacks": [callback]})
    assert provider.requests == 2
    assert callback.session.spent_nanos >= provider.bills[1].nanos
    assert callback.session.reserved == 0


def test_a_model_that_no_guard_sees_is_charged_by_its_usage():
    callback = LangChainBudgetCallback("$1")
    Scripted(said("hi", 100, 20)).invoke("hello", {"callbacks": [callback]})
    assert callback.session.spent_nanos == 100 * 1_000 + 20 * 10_000


def test_a_model_that_no_guard_sees_and_that_overspends_shows_as_overage():
    callback = LangChainBudgetCallback("$0.02", max_repeated_calls=None)
    model = Scripted(said("long", 100, 5_000), said("never", 1, 1))
    model.invoke("hello", {"callbacks": [callback]})
    report = callback.get_report()
    assert report["total_spent_nanos"] == 100 * 1_000 + 5_000 * 10_000
    assert report["overage"] == pytest.approx(0.0301)
    with pytest.raises(BudgetExhausted):
        model.invoke("again", {"callbacks": [callback]})


def test_a_model_that_tells_no_usage_is_never_free():
    callback = LangChainBudgetCallback("$1")
    Scripted(AIMessage("four words are here")).invoke("hello", {"callbacks": [callback]})
    assert 0 < callback.session.spent_nanos < 5_000_000


def test_a_stream_that_no_guard_sees_is_stopped_when_its_hold_is_spent():
    callback = LangChainBudgetCallback("$0.006")
    seen = []
    stream = Scripted(AIMessage("word " * 2_000)).stream("go", {"callbacks": [callback]})
    with pytest.raises(BudgetExhausted):
        seen.extend(chunk.content for chunk in stream)
    assert len(seen) > 100
    assert len(seen) * 10_000 <= 6_000_000 <= callback.session.spent_nanos < 7_000_000
    assert callback.session.reserved == 0


def test_protocol_events_are_metered_once():
    shown = []
    for version in (None, "v3"):
        callback = LangChainBudgetCallback("$0.006")
        model = Scripted(AIMessage("word " * 2_000))
        config = {"callbacks": [callback]}
        stream = (
            model.stream_events("go", config, version=version)
            if version
            else model.stream("go", config)
        )
        seen = []
        with pytest.raises(BudgetExhausted):
            seen.extend(stream)
        shown.append(len(seen))
        assert callback.session.reserved == 0
    assert abs(shown[1] - shown[0]) < 10


@pytest.fixture
def asking(provider):
    @tool
    def approve(what: str) -> str:
        """Ask a human."""
        return f"{what}: {interrupt(what)}"

    provider.script(Reply(tool_calls=[ToolCall("approve", {"what": "it"})]), Reply("done"))
    return approve


async def test_an_interrupted_tool_is_charged_once(provider, gpt, asking, guard_sdks):
    from langchain.agents import create_agent

    callback = LangChainBudgetCallback("$1", tool_costs={"approve": "$0.01"}, guard_sdks=guard_sdks)
    agent = create_agent(gpt(), [asking], checkpointer=InMemorySaver())
    config = {"callbacks": [callback], "configurable": {"thread_id": "t"}}
    await agent.ainvoke({"messages": [("user", "go")]}, config)
    assert callback.session.spent_nanos == provider.bill_nanos
    assert callback.session.balance().spent.tool_calls == 0
    state = await agent.ainvoke(Command(resume="yes"), config)
    assert state["messages"][-1].content == "done"
    assert provider.requests == 2
    assert callback.session.spent_nanos == provider.bill_nanos + 10_000_000
    assert callback.session.balance().spent.tool_calls == 1
    assert callback.session.reserved == 0


def test_after_a_top_up_a_thread_goes_on_where_it_stopped(provider, gpt, steps, researcher, square):
    steps(3)
    callback = LangChainBudgetCallback("$1", llm_calls=2)
    agent = researcher(gpt(), checkpointer=InMemorySaver())
    config = {"callbacks": [callback], "configurable": {"thread_id": "t"}}
    with pytest.raises(BudgetExhausted):
        agent.invoke({"messages": [("user", "go")]}, config)
    callback.session.top_up(llm_calls=2)
    state = agent.invoke(None, config)
    assert state["messages"][-1].content == "done"
    assert provider.requests == 4
    square(callback.session)


def test_tools_are_limited_and_loops_are_found(provider, gpt, researcher, eager):
    callback = LangChainBudgetCallback("$1", tool_calls=2)
    with pytest.raises(BudgetExhausted) as raised:
        researcher(gpt()).invoke({"messages": [("user", "go")]}, {"callbacks": [callback]})
    assert raised.value.unit == "tool_calls"
    provider.respond(lambda _: Reply(tool_calls=[ToolCall("search", {"query": "same"})]))
    callback = LangChainBudgetCallback("$1", max_repeated_calls=4)
    with pytest.raises(LoopDetected):
        researcher(gpt()).invoke({"messages": [("user", "go")]}, {"callbacks": [callback]})
    assert callback.session.reserved == 0
