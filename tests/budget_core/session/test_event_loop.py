"""Nothing that blocks runs in an event loop: a ledger that blocks is asked in threads."""

import asyncio

import httpx
import openai
import pytest

from budget_core import (
    AgentBudget,
    BudgetExhausted,
    CallRequest,
    Prompt,
    Usage,
    wrap_client,
)
from budget_core.testing import Reply

MESSAGES = [{"role": "user", "content": "Why is the sea salt?"}]


@pytest.fixture
def ledger(waiting_ledger):
    return waiting_ledger


def session_of(ledger, budget="$1", **options):
    return AgentBudget(budget, ledger=ledger, **options).session()


async def test_calls_by_hand(ledger, penny):
    async with session_of(ledger) as session:
        for end in ("settle", "release", "finish", "abort"):
            call = await session.open_call_async(CallRequest(model=penny, output_cap=100))
            getattr(call, end)()
        with await session.open_call_async(CallRequest(model=penny, output_cap=100)) as call:
            call.settle(Usage(1, 10))


async def test_children(ledger, penny):
    async with session_of(ledger) as session, session.child_session("$0.50") as child:
        call = await child.open_call_async(CallRequest(model=penny, output_cap=100))
        call.settle(Usage(1, 10))


async def test_others_whose_money_it_is(ledger, penny):
    first, second, third = (session_of(ledger) for _ in range(3))
    request = CallRequest(model=penny, output_cap=9)
    async with first:
        call = await first.open_call_async(request, joining=[second])
        await asyncio.to_thread(call.reprice, request, (third,))
        call.settle(Usage(1, 1))
    assert await asyncio.to_thread(lambda: second.spent_nanos == third.spent_nanos > 0)


async def test_a_call_whose_answer_outgrows_its_hold(ledger, penny):
    async with session_of(ledger, "$0.05") as session:
        call = await session.open_call_async(CallRequest(model=penny, prompt=Prompt(MESSAGES)))

        async def answer():
            while True:
                await call.meter_async("x" * 500)

        with pytest.raises(BudgetExhausted):
            await answer()
        call.settle(None)


async def test_costs_that_are_tracked(ledger):
    async with session_of(ledger) as session:
        session.track("found", cost=0.01, tool_name="search")
        await asyncio.to_thread(session.balance)
        assert (await asyncio.to_thread(session.report))["total_spent"] == 0.01


async def test_a_cost_over_the_limit_raises_at_the_next_one(ledger):
    async with session_of(ledger, "$0.01") as session:
        session.track("found", cost=0.02)
        await asyncio.to_thread(session.balance)  # which waits for what is told
        with pytest.raises(BudgetExhausted) as caught:
            session.track("again", cost=0.02)
        assert caught.value.result == "again"
        await asyncio.to_thread(session.balance)
    assert await asyncio.to_thread(lambda: session.spent) == 0.04


async def test_tools(ledger):
    async with session_of(ledger) as session:

        @session.track_tool(cost=0.01)
        async def search(query):
            return query

        @session.track_tool(cost=0.01)
        async def pages(query):
            yield query

        assert await search("a") == "a"
        assert [page async for page in pages("b")] == ["b"]
    assert await asyncio.to_thread(lambda: session.spent) == 0.02


async def test_responses_that_are_wrapped(ledger, provider):
    provider.default = Reply("Salt is salt.")
    client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test")
    async with session_of(ledger) as session, client:
        create = client.chat.completions.create
        await session.wrap_async(create(model="gpt-4o", messages=MESSAGES))
        session.wrap(await create(model="gpt-4o", messages=MESSAGES))
        stream = await create(
            model="gpt-4o",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for _ in session.wrap(stream):
            pass
    assert await asyncio.to_thread(lambda: session.spent_nanos) == provider.bill_nanos


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_clients_that_are_guarded(ledger, provider, stream):
    provider.default = Reply("Salt is salt.")
    async with session_of(ledger) as session:
        plain = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test")
        async with wrap_client(plain, session) as client:
            answer = await client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=stream
            )
            if stream:
                async for _ in answer:
                    pass
    assert await asyncio.to_thread(lambda: session.spent_nanos) == provider.bill_nanos


async def test_an_attempt_that_is_made_again(ledger, provider):
    provider.script(Reply(status=500), Reply("Salt is salt."))
    async with session_of(ledger) as session:
        plain = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test", max_retries=1)
        async with wrap_client(plain, session) as client:
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert provider.requests == 2
    assert await asyncio.to_thread(lambda: session.spent_nanos) == provider.bill_nanos
    assert await asyncio.to_thread(lambda: session.reserved) == 0


async def test_a_retry_that_never_comes_leaves_no_hold(ledger, provider):
    provider.script(Reply(status=500))
    sent = []

    class Lost(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            sent.append(request)
            if len(sent) > 1:
                raise asyncio.CancelledError
            return await super().handle_async_request(request)

    async with session_of(ledger) as session, httpx.AsyncClient(transport=Lost()) as http:
        plain = openai.AsyncOpenAI(
            base_url=provider.openai_url, api_key="test", max_retries=1, http_client=http
        )
        with pytest.raises(asyncio.CancelledError):
            await wrap_client(plain, session).chat.completions.create(
                model="gpt-4o", messages=MESSAGES, max_tokens=10
            )
    assert await asyncio.to_thread(lambda: session.reserved) == 0


async def test_many_calls_at_once(ledger, penny):
    async def one(session):
        call = await session.open_call_async(CallRequest(model=penny, output_cap=10))
        call.settle(Usage(1, 5))

    async with session_of(ledger) as session:
        await asyncio.gather(*(one(session) for _ in range(50)))
    assert await asyncio.to_thread(lambda: session.totals.llm_calls) == 50
