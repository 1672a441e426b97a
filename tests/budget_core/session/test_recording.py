"""Recording responses after the fact, and streams as they are read."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from langchain_core.messages import AIMessage
from openai.types.chat import ChatCompletion

from budget_core import AgentBudget, BudgetExhausted, TopUp, UnknownModel
from budget_core.calls.request import CallRequest
from budget_core.session.recording import is_settled, mark_settled

pytestmark = pytest.mark.usefixtures("penny")

OPENAI = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "penny",
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 100, "total_tokens": 107},
}
ANTHROPIC = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "penny",
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 7, "output_tokens": 100},
}
GEMINI = {
    "modelVersion": "penny",
    "usageMetadata": {
        "promptTokenCount": 7,
        "candidatesTokenCount": 100,
        "totalTokenCount": 107,
    },
}


@pytest.fixture
def session():
    return AgentBudget("$1").session("s")


RESPONSES = {
    "openai": ChatCompletion.model_validate(OPENAI),
    "openai as a dict": OPENAI,
    "anthropic": Message.model_validate(ANTHROPIC),
    "anthropic as a dict": ANTHROPIC,
    "gemini": GenerateContentResponse.model_validate(GEMINI),
    "gemini as a dict": GEMINI,
    "langchain": AIMessage(
        "hi",
        usage_metadata={"input_tokens": 7, "output_tokens": 100, "total_tokens": 107},
        response_metadata={"model_name": "penny"},
    ),
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
class TestResponses:
    def test_are_recorded_and_handed_back(self, session, response):
        assert session.wrap(response) is response
        assert session.spent == 0.001
        breakdown = session.report()["breakdown"]
        assert breakdown["llm"] == {"total": 0.001, "calls": 1, "by_model": {"penny": 0.001}}
        assert (breakdown["tokens"]["input"], breakdown["tokens"]["output"]) == (7, 100)

    async def test_may_be_awaited(self, session, response):
        async def ask():
            return response

        assert await session.wrap_async(ask()) is response
        assert await session.wrap_async(response) is response
        assert session.spent == 0.002

    def test_that_cost_too_much_are_recorded_and_raised_with(self, response):
        session = AgentBudget("$0.0005").session()
        with pytest.raises(BudgetExhausted) as caught:
            session.wrap(response)
        assert caught.value.result is response
        assert session.spent == 0.001
        assert session.report()["overage"] == 0.0005


class TestWithoutAPrice:
    RESPONSE = {**OPENAI, "model": "nosuch"}

    def test_it_is_recorded_as_unpriced_and_raised_with_the_response(self, session):
        with pytest.raises(UnknownModel, match="nosuch") as caught:
            session.wrap(self.RESPONSE)
        assert caught.value.result is self.RESPONSE
        report = session.report()
        assert (report["unpriced_calls"], report["breakdown"]["llm"]["calls"]) == (1, 1)
        assert report["breakdown"]["tokens"]["output"] == 100

    @pytest.mark.parametrize("setting", [{"unknown_model": "allow"}, {"mode": "observe"}])
    def test_it_is_handed_back_where_that_is_allowed(self, setting, caplog):
        session = AgentBudget("$1", **setting).session()
        assert session.wrap(self.RESPONSE) is self.RESPONSE
        assert session.report()["unpriced_calls"] == 1
        assert "nosuch" in caplog.text

    def test_its_tokens_and_calls_count_all_the_same(self):
        session = AgentBudget(tokens=50, unknown_model="allow").session()
        with pytest.raises(BudgetExhausted) as caught:
            session.wrap(self.RESPONSE)
        assert (caught.value.unit, caught.value.spent) == ("tokens", 107)

    def test_a_response_without_usage_is_unpriced(self, session, caplog):
        response = {**OPENAI, "usage": None}
        assert session.wrap(response) is response
        assert session.report()["unpriced_calls"] == 1
        assert "without a price or usage" in caplog.text

    def test_what_is_no_response_at_all_is_refused_as_unknown(self, session):
        with pytest.raises(UnknownModel):
            session.wrap("hello")
        assert session.report()["unpriced_calls"] == 1


class TestSettledElsewhere:
    def test_it_costs_nothing_more(self, session):
        response = ChatCompletion.model_validate(OPENAI)
        assert not is_settled(response)
        mark_settled(response)
        assert is_settled(response)
        assert session.wrap(response) is response
        assert session.spent == 0

    def test_a_dict_takes_no_mark_and_that_breaks_nothing(self):
        response = dict(OPENAI)
        mark_settled(response)
        assert not is_settled(response)


def chunk(output=None, *, model="penny", tier=None, text="x"):
    usage = None if output is None else {"prompt_tokens": 1, "completion_tokens": output}
    return {"model": model, "choices": [text], "usage": usage, "service_tier": tier}


class Stream:
    """A stream as SDKs make them: with a close and things of its own."""

    def __init__(self, *chunks, fail=None):
        self.chunks, self.fail, self.closed, self.request_id = list(chunks), fail, 0, "r"

    def __iter__(self):
        return self

    def __next__(self):
        if self.chunks:
            return self.chunks.pop(0)
        raise self.fail or StopIteration

    def close(self):
        self.closed += 1
        self.chunks = []


class AsyncStream:
    """The same for tasks."""

    def __init__(self, *chunks, fail=None):
        self.chunks, self.fail, self.closed, self.request_id = list(chunks), fail, 0, "r"

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.chunks:
            return self.chunks.pop(0)
        raise self.fail or StopAsyncIteration

    async def close(self):
        self.closed += 1
        self.chunks = []


class TestStreams:
    def test_are_recorded_when_they_end(self, session):
        chunks = [chunk(), chunk(), chunk(100)]
        stream = session.wrap(Stream(*chunks))
        assert session.spent == 0
        assert list(stream) == chunks
        assert session.spent == 0.001
        assert session.report()["breakdown"]["llm"]["calls"] == 1
        assert stream.request_id == "r"

    def test_are_recorded_once(self, session):
        with session.wrap(Stream(chunk(100))) as stream:
            list(stream)
            list(stream)
            stream.close()
        assert session.spent == 0.001

    def test_a_generator_is_one(self, session):
        assert len(list(session.wrap(chunk(n) for n in (1, 2, 100)))) == 3
        assert session.spent == 0.001

    @pytest.mark.parametrize("how", ["close", "with"])
    def test_closed_early_they_are_recorded_as_far_as_they_came(self, session, how):
        inner = Stream(chunk(10), chunk(20), chunk(30))
        stream = session.wrap(inner)
        if how == "close":
            next(stream)
            next(stream)
            stream.close()
        else:
            with stream:
                next(stream)
                next(stream)
        assert inner.closed == 1
        assert session.spent_nanos == 20 * 10_000

    def test_dropped_they_are_recorded_as_far_as_they_came(self, session):
        stream = session.wrap(Stream(chunk(10), chunk(20)))
        next(stream)
        del stream
        gc.collect()
        assert session.spent_nanos == 10 * 10_000

    def test_broken_they_are_recorded_as_far_as_they_came(self, session):
        stream = session.wrap(Stream(chunk(10), fail=ConnectionError()))
        with pytest.raises(ConnectionError):
            list(stream)
        assert session.spent_nanos == 10 * 10_000

    def test_that_said_nothing_at_all_are_told_as_unpriced(self, session):
        with pytest.raises(UnknownModel):
            session.wrap(Stream()).close()
        assert session.report()["unpriced_calls"] == 1

    def test_without_usage_their_chunks_are_counted(self, session, caplog):
        list(session.wrap(Stream(chunk(), chunk(), chunk())))
        assert session.spent_nanos == 3 * 10_000
        assert "without usage" in caplog.text

    def test_the_tier_that_one_chunk_told_is_not_forgotten(self, session):
        list(session.wrap(Stream(chunk(tier="priority"), chunk(100))))
        assert session.spent == 0.002

    def test_without_usage_they_are_stopped_all_the_same(self):
        session = AgentBudget("$0.0002").session()
        with pytest.raises(BudgetExhausted):
            list(session.wrap(Stream(*(chunk() for _ in range(90)))))
        assert session.spent_nanos == 21 * 10_000

    def test_the_parts_of_an_anthropic_usage_are_put_together(self, session):
        start = {"type": "message_start", "message": ANTHROPIC | {"usage": {
            "input_tokens": 50, "output_tokens": 1}}}  # fmt: skip
        delta = {"type": "message_delta", "usage": {"input_tokens": 50, "output_tokens": 100}}
        list(session.wrap(Stream(start, delta)))
        assert session.spent == 0.001
        assert session.report()["breakdown"]["tokens"]["input"] == 50

    def test_an_anthropic_usage_that_tells_the_output_alone_is_heard(self, session):
        start = {"type": "message_start", "message": ANTHROPIC | {"usage": {
            "input_tokens": 50, "output_tokens": 1}}}  # fmt: skip
        delta = {"type": "message_delta", "usage": {"output_tokens": 100}}
        list(session.wrap(Stream(start, delta)))
        assert session.spent == 0.001

    def test_they_stop_when_the_money_is_gone(self):
        session = AgentBudget("$0.0002").session("s")
        inner = Stream(*(chunk(n) for n in range(1, 90)))
        seen = []
        with pytest.raises(BudgetExhausted):
            seen.extend(item for item in session.wrap(inner))
        assert inner.closed == 1
        assert session.spent_nanos == 21 * 10_000
        assert session.report()["overage"] > 0
        assert session.terminated_by == "budget_exhausted"

    def test_they_stop_loudly_where_others_hold_the_rest(self):
        session = AgentBudget("$0.0002").session()
        other = session.open_call(CallRequest(kind="tool", name="t", cost=100_000))
        inner = Stream(*(chunk(n) for n in range(1, 90)))
        with pytest.raises(BudgetExhausted):
            list(session.wrap(inner))
        assert inner.closed == 1
        assert session.spent_nanos == 11 * 10_000
        other.settle()
        assert session.reserved == 0

    def test_a_top_up_lets_them_go_on(self):
        session = AgentBudget("$0.0002", on_hard_limit=lambda _: TopUp("$1")).session()
        chunks = [chunk(n) for n in range(1, 90)]
        assert list(session.wrap(Stream(*chunks))) == chunks
        assert session.spent_nanos == 89 * 10_000

    def test_a_cancelled_session_stops_them(self, session):
        stream = session.wrap(Stream(chunk(1), chunk(2), chunk(3)))
        next(stream)
        session.cancel()
        with pytest.raises(BudgetExhausted):
            next(stream)
        assert session.spent_nanos == 2 * 10_000

    def test_they_may_be_read_after_their_session_was_closed(self):
        with AgentBudget("$1").session() as session:
            stream = session.wrap(Stream(*(chunk(n) for n in range(1, 6))))
        assert len(list(stream)) == 5
        assert session.spent_nanos == 5 * 10_000

    def test_observed_they_are_never_stopped(self):
        session = AgentBudget("$0.0001", mode="observe").session()
        assert len(list(session.wrap(Stream(*(chunk(n) for n in range(50)))))) == 50
        assert session.report()["overage"] > 0

    def test_of_an_unknown_model_they_end_and_then_raise(self, session):
        stream = session.wrap(Stream(chunk(1, model="nosuch"), chunk(2, model="nosuch")))
        with pytest.raises(UnknownModel):
            list(stream)
        assert session.report()["unpriced_calls"] == 1

    def test_many_at_once_are_recorded_exactly(self, session):
        start = threading.Barrier(8)

        def work(_):
            start.wait()
            for _ in range(20):
                list(session.wrap(Stream(chunk(1), chunk(10))))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert session.spent_nanos == 160 * 10 * 10_000


class TestAsyncStreams:
    async def test_are_recorded_when_they_end(self, session):
        chunks = [chunk(), chunk(100)]
        stream = session.wrap(AsyncStream(*chunks))
        assert [item async for item in stream] == chunks
        assert session.spent == 0.001
        assert stream.request_id == "r"

    async def test_an_async_generator_is_one(self, session):
        async def stream():
            yield chunk(10)
            yield chunk(20)

        wrapped = session.wrap(stream())
        await anext(wrapped)
        await wrapped.close()
        assert session.spent_nanos == 10 * 10_000

    async def test_closed_early_they_are_recorded_as_far_as_they_came(self, session):
        inner = AsyncStream(chunk(10), chunk(20))
        async with session.wrap(inner) as stream:
            await anext(stream)
        assert inner.closed == 1
        assert session.spent_nanos == 10 * 10_000

    async def test_dropped_they_are_recorded_as_far_as_they_came(self, session):
        stream = session.wrap(AsyncStream(chunk(10), chunk(20)))
        await anext(stream)
        del stream
        gc.collect()
        assert session.spent_nanos == 10 * 10_000

    async def test_broken_they_are_recorded_as_far_as_they_came(self, session):
        stream = session.wrap(AsyncStream(chunk(10), fail=ConnectionError()))
        with pytest.raises(ConnectionError):
            async for _ in stream:
                pass
        assert session.spent_nanos == 10 * 10_000

    async def test_they_stop_when_the_money_is_gone(self):
        session = AgentBudget("$0.0002").session()
        inner = AsyncStream(*(chunk(n) for n in range(1, 90)))
        with pytest.raises(BudgetExhausted):
            async for _ in session.wrap(inner):
                pass
        assert inner.closed == 1
        assert session.spent_nanos == 21 * 10_000

    async def test_without_a_close_they_end_all_the_same(self, session):
        class Bare:
            def __aiter__(self):
                return self

            async def __anext__(self):
                return chunk(10)

        stream = session.wrap(Bare())
        await anext(stream)
        await stream.close()
        assert session.spent_nanos == 10 * 10_000

    async def test_over_at_the_end_they_raise_at_the_end(self):
        session = AgentBudget(tokens=5).session()
        stream = session.wrap(AsyncStream(chunk(10)))
        await anext(stream)
        with pytest.raises(BudgetExhausted) as caught:
            await anext(stream)
        assert caught.value.unit == "tokens"


def test_a_plain_iterator_without_a_close_is_a_stream(session):
    stream = session.wrap(iter([chunk(10), chunk(20)]))
    next(stream)
    stream.close()
    assert session.spent_nanos == 10 * 10_000


def test_an_object_whose_attributes_raise_is_told_as_unpriced(session):
    class Hostile:
        def __getattr__(self, name):
            if name.startswith("__") or name == "_budget_settled":
                raise AttributeError(name)
            raise RuntimeError(name)

    with pytest.raises(UnknownModel):
        session.wrap(Hostile())
    assert session.report()["unpriced_calls"] == 1


def test_a_foreign_object_with_usage_is_read(session):
    usage = SimpleNamespace(prompt_tokens=1, completion_tokens=100)
    session.wrap(SimpleNamespace(model="penny", usage=usage))
    assert session.spent == 0.001
