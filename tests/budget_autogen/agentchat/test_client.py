"""`BudgetedChatCompletionClient`, by itself."""

import asyncio
import gc

import pytest
from autogen_core import CancellationToken
from autogen_core.models import ChatCompletionClient, CreateResult, UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.cache import ChatCompletionCache
from autogen_ext.models.replay import ReplayChatCompletionClient
from openai import APITimeoutError, LengthFinishReasonError
from pydantic import BaseModel

from budget_autogen import AutoGenBudgetTracker, BudgetedChatCompletionClient
from budget_core import AgentBudget, BudgetExhausted, LoopDetected, UnknownModel
from budget_core.frameworks.last_word import SPEECHLESS, WRAP_UP
from budget_core.testing import Gate, Reply, ToolCall

ASK = [UserMessage(content="What is up?", source="user")]


class Answer(BaseModel):
    text: str


def count(text: str) -> int:
    return len(text)


@pytest.fixture(autouse=True)
def _collected():
    """Let connections that were left open be collected where that is expected."""
    yield
    gc.collect()


async def parts_of(stream):
    return [part async for part in stream]


async def test_create(provider, client, square, guard_sdks):
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    result = await budgeted.create(ASK)
    assert isinstance(budgeted, ChatCompletionClient)
    assert result.content == "Hello from the test provider."
    square(budgeted.payers.session)
    assert budgeted.get_report()["total_spent"] == provider.bill
    assert budgeted.total_usage().prompt_tokens == result.usage.prompt_tokens
    assert budgeted.model_info == budgeted.client.model_info


async def test_a_stream_tells_its_usage(client, square, guard_sdks):
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    *_, result = await parts_of(budgeted.create_stream(ASK))
    assert isinstance(result, CreateResult)
    assert result.usage.prompt_tokens > 0
    assert result.usage.completion_tokens > 0
    square(budgeted.payers.session)


async def test_a_stream_without_usage_is_not_free(provider, client, square, guard_sdks):
    provider.script(Reply("one two three", usage=False))
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    await parts_of(budgeted.create_stream(ASK))
    square(budgeted.payers.session, exact=False)
    assert provider.bill_nanos > 0


async def test_a_stream_that_is_dropped_costs_its_hold(provider, client, square, guard_sdks):
    provider.script(Reply(output_tokens=500))
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    stream = budgeted.create_stream(ASK)
    await anext(stream)
    await stream.aclose()
    square(budgeted.payers.session, exact=False)


async def test_between_two_parts_nothing_of_the_reader_is_paid(provider, client):
    """What the reader of a stream asks of a model meanwhile is not the stream's business."""
    budgeted, other = BudgetedChatCompletionClient(client(), "$1"), client()
    provider.script(Reply("one two three four"), Reply("mine"))
    stream = budgeted.create_stream(ASK)
    await anext(stream)
    await other.create(ASK)
    await parts_of(stream)
    assert budgeted.get_report()["breakdown"]["llm"]["calls"] == 1
    assert budgeted.payers.session.spent_nanos == provider.bills[0].nanos


async def test_structured_output(provider, client, square, guard_sdks):
    provider.script(Reply('{"text": "yes"}'))
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    result = await budgeted.create(ASK, json_output=Answer)
    assert Answer.model_validate_json(result.content).text == "yes"
    square(budgeted.payers.session)


async def test_an_answer_that_cannot_be_parsed_is_paid(provider, client, square, guard_sdks):
    provider.script(Reply('{"text": "y', output_tokens=40))
    budgeted = BudgetedChatCompletionClient(client(max_tokens=20), "$1", guard_sdks=guard_sdks)
    with pytest.raises(LengthFinishReasonError):
        await budgeted.create(ASK, json_output=Answer)
    square(budgeted.payers.session, exact=guard_sdks)
    assert provider.bill_nanos > 0


async def test_an_answer_from_a_cache_is_free(provider, client, square):
    budgeted = BudgetedChatCompletionClient(ChatCompletionCache(client()), "$1")
    assert budgeted.model == "gpt-4o"
    first, second = await budgeted.create(ASK), await budgeted.create(ASK)
    assert second.cached
    assert first.content == second.content
    assert provider.requests == 1
    square(budgeted.payers.session)


async def test_a_custom_client_is_charged_by_its_usage():
    replies = [
        CreateResult(
            finish_reason="stop",
            content="hi",
            usage={"prompt_tokens": 1000, "completion_tokens": 100},
            cached=False,
        )
    ]
    inner = ReplayChatCompletionClient(replies)
    budgeted = BudgetedChatCompletionClient(inner, "$1", model="gpt-4o")
    await budgeted.create(ASK)
    assert budgeted.payers.session.spent == pytest.approx(0.0025 + 0.001)


async def test_a_custom_clients_stream_is_broken_off_when_the_money_is_spent():
    inner = ReplayChatCompletionClient(["many words " * 2_000])
    budgeted = BudgetedChatCompletionClient(inner, "$0.01", model="gpt-4o", on_exhausted="raise")
    parts = []

    async def read():
        async for part in budgeted.create_stream(ASK):
            parts.append(part)

    with pytest.raises(BudgetExhausted):
        await read()
    assert 0 < len(parts) < 4_000
    assert budgeted.payers.session.spent <= 0.011  # what was on its way is charged
    assert budgeted.payers.session.reserved == 0


async def test_a_custom_client_that_writes_too_much_is_charged_in_full():
    usage = {"prompt_tokens": 10, "completion_tokens": 5_000}
    long = CreateResult(finish_reason="stop", content="hi", usage=usage, cached=False)
    inner = ReplayChatCompletionClient([long])
    budgeted = BudgetedChatCompletionClient(inner, "$0.01", model="gpt-4o")
    await budgeted.create(ASK)
    assert budgeted.payers.session.spent == pytest.approx(0.050025)
    with pytest.raises(BudgetExhausted):
        await budgeted.create(ASK)


async def test_a_model_without_a_price_is_refused():
    budgeted = BudgetedChatCompletionClient(ReplayChatCompletionClient(["hi"]), "$1")
    with pytest.raises(UnknownModel):
        await budgeted.create(ASK)


async def test_cancelling_leaves_no_hold(provider, client, square, guard_sdks):
    gate = Gate(2)
    provider.script(Reply("late", gate=gate))
    budgeted = BudgetedChatCompletionClient(client(), "$1", guard_sdks=guard_sdks)
    token = CancellationToken()
    task = asyncio.create_task(budgeted.create(ASK, cancellation_token=token))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    square(budgeted.payers.session, exact=False)


async def test_cancelling_a_call_that_waits_for_money(provider, client, square):
    gate = Gate(2)
    provider.script(Reply("first", gate=gate))
    budgeted = BudgetedChatCompletionClient(client(), llm_calls=1, on_exhausted="raise")
    first = asyncio.create_task(budgeted.create(ASK))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    token = CancellationToken()
    second = asyncio.create_task(budgeted.create(ASK, cancellation_token=token))
    await asyncio.sleep(0)  # it begins to wait
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.open()
    await first
    square(budgeted.payers.session)


async def test_a_call_that_times_out_stays_charged(provider, client, square, guard_sdks):
    gate = Gate(2)
    provider.script(Reply("late", gate=gate))
    budgeted = BudgetedChatCompletionClient(client(timeout=0.2), "$1", guard_sdks=guard_sdks)
    with pytest.raises(APITimeoutError):
        await budgeted.create(ASK)
    gate.open()
    square(budgeted.payers.session, exact=False)
    assert budgeted.payers.session.spent_nanos > 0


async def test_retries_are_paid_one_by_one(provider, client, square):
    provider.script(Reply(status=500, retry_after=0), Reply(status=429, retry_after=0), Reply("ok"))
    budgeted = BudgetedChatCompletionClient(client(max_retries=2), "$1")
    await budgeted.create(ASK)
    assert provider.requests == 3
    square(budgeted.payers.session)


async def test_the_cap_is_on_the_wire(provider, client, square, guard_sdks):
    provider.script(Reply(output_tokens=10_000))
    budgeted = BudgetedChatCompletionClient(client(), "$0.02", guard_sdks=guard_sdks)
    with pytest.raises(BudgetExhausted) as caught:
        await budgeted.create(ASK)
    assert caught.value.result.finish_reason == "length"
    square(budgeted.payers.session)
    assert provider.bills[0].output_cap < 2_000


async def test_the_callers_own_cap_stays(provider, client, square, guard_sdks):
    budgeted = BudgetedChatCompletionClient(client(max_tokens=33), "$1", guard_sdks=guard_sdks)
    await budgeted.create(ASK, extra_create_args={"max_tokens": 22})
    assert provider.bills[0].output_cap == 22
    square(budgeted.payers.session)


async def test_the_last_word_has_no_tools(provider, client, square):
    tool = FunctionTool(count, description="Counts.")
    provider.script(Reply("first"), Reply(tool_calls=[ToolCall("count", {})]))
    budgeted = BudgetedChatCompletionClient(client(), llm_calls=2, finalization_reserve=0.1)
    await budgeted.create(ASK)
    last = await budgeted.create(ASK, tools=[tool], tool_choice="required")
    assert last.content == SPEECHLESS
    body = provider.bills[-1].body
    assert "tools" not in body
    assert "tool_choice" not in body
    assert WRAP_UP in str(body["messages"])
    square(budgeted.payers.session)
    with pytest.raises(BudgetExhausted):
        await budgeted.create(ASK)


async def test_the_last_word_may_be_streamed(client, square):
    budgeted = BudgetedChatCompletionClient(client(), llm_calls=1, finalization_reserve=0.1)
    *chunks, last = await parts_of(budgeted.create_stream(ASK))
    assert "".join(chunks) == last.content
    square(budgeted.payers.session)
    assert budgeted.payers.session.finalized


async def test_without_money_for_it_the_error_is_the_first(client, provider):
    budgeted = BudgetedChatCompletionClient(client(), "$0.00001")
    with pytest.raises(BudgetExhausted):
        await budgeted.create(ASK)
    assert provider.requests == 0


async def test_a_callable_says_the_last_word(client, provider):
    told = []

    def tell(error):
        told.append(error)
        return "No money left."

    budgeted = BudgetedChatCompletionClient(client(), llm_calls=0, on_exhausted=tell)
    assert (await budgeted.create(ASK)).content == "No money left."
    assert isinstance(told[0], BudgetExhausted)
    with pytest.raises(BudgetExhausted):
        await budgeted.create(ASK)
    assert len(told) == 1
    assert provider.requests == 0


async def test_the_same_question_again_and_again_is_a_loop(client):
    budgeted = BudgetedChatCompletionClient(client(), "$1", max_repeated_calls=3)
    for _ in range(2):
        await budgeted.create(ASK)
    with pytest.raises(LoopDetected):
        await budgeted.create(ASK)


async def test_samples_of_one_question_are_no_loop(client, provider, square):
    provider.default = Reply("391", gate=Gate(6))
    budgeted = BudgetedChatCompletionClient(client(), "$1", max_repeated_calls=3)
    asking = []
    for at in range(6):
        asking.append(asyncio.create_task(budgeted.create(ASK)))
        await asyncio.to_thread(provider.wait_for_requests, at + 1)
    await asyncio.gather(*asking)
    square(budgeted.payers.session)


async def test_wrapped_again_both_budgets_hold(client, square):
    inner = BudgetedChatCompletionClient(client(), "$1")
    outer = BudgetedChatCompletionClient(inner, "$2")
    assert outer.client is inner.client
    await outer.create(ASK)
    square(outer.payers.session)
    assert inner.payers.session.spent_nanos == outer.payers.session.spent_nanos


async def test_inside_a_session_it_is_a_child(client, square):
    with AgentBudget("$1").session() as session:
        budgeted = BudgetedChatCompletionClient(client(), "$0.50")
        await budgeted.create(ASK)
        assert budgeted.payers.session.parent is session
    square(session)


async def test_fifty_at_once(provider, client, square):
    """Uncapped calls against little money: the bill stays below, and no hold is left."""
    provider.default = Reply(output_tokens=3_000)
    tracker = AutoGenBudgetTracker("$0.10", on_exhausted="raise", max_repeated_calls=None)
    clients = [BudgetedChatCompletionClient(client(), tracker=tracker) for _ in range(50)]
    results = await asyncio.gather(*(c.create(ASK) for c in clients), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, BudgetExhausted) for error in refused)
    square(tracker.session)
    assert provider.bill_nanos > 80_000_000


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="on_exhausted"):
        AutoGenBudgetTracker("$1", on_exhausted="explode")
    with pytest.raises(TypeError, match="session="):
        AutoGenBudgetTracker("$1", session=AgentBudget("$1").session())
    with pytest.raises(TypeError, match="attaches to"):
        AutoGenBudgetTracker("$1").attach("a string")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["openai", "strangers"])
async def test_an_error_before_any_request_is_free_if_a_guard_proves_it(
    kind, streaming, client, provider, square
):
    inner = client()
    if kind == "strangers":  # it may send anything
        ways = {way: getattr(type(inner), way) for way in ("create", "create_stream")}
        inner.__class__ = type("Strangers", (type(inner),), {"__module__": __name__, **ways})
    budgeted = BudgetedChatCompletionClient(inner, "$1")
    wrong = {"extra_create_args": {"nonsense": 1}}
    ask = (
        anext(budgeted.create_stream(ASK, **wrong)) if streaming else budgeted.create(ASK, **wrong)
    )
    with pytest.raises(ValueError, match="nonsense"):
        await ask
    assert provider.requests == 0
    square(budgeted.payers.session, exact=False)
    assert (budgeted.payers.session.spent == 0) == (kind == "openai")
