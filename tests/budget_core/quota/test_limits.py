"""Limits hold, exactly, and what does not fit waits or is refused before it is sent."""

import asyncio
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import aiohttp
import anthropic
import httpx
import openai
import pytest
import requests

from budget_core.errors import LedgerUnavailable, QuotaExceeded
from budget_core.ledger import MemoryLedger
from budget_core.quota import Api, Watch
from budget_core.testing import Reply

http = httpx.Client()
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module", autouse=True)
def _client():
    with http:
        yield


class Away(MemoryLedger):
    """A ledger that does not answer."""

    def reserve(self, *args, **options):
        raise LedgerUnavailable("connection refused")


def refused(call, *args, **options):
    with pytest.raises(QuotaExceeded) as raised:
        call(*args, **options)
    return raised.value


def tokens_of(watch):
    return {limit["limit"]: limit for limit in watch.report()[0]["limits"]}["1,000,000 tokens/day"]


def test_one_too_many_is_not_sent(api, post):
    with Watch(Api("Items", api.url, ["2 requests/day"])) as watch:
        assert [post(f"{api.url}/v1/items") for _ in range(2)] == [200, 200]
        error = refused(post, f"{api.url}/v1/items")
    assert api.requests == 2
    assert (error.api, error.limit) == ("Items", "of 2 requests/day, 2 requests are used")
    assert 0 < error.retry_after <= 86400
    assert "on_limit='wait'" in str(error)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301
    (report,) = watch.report()
    assert (report["requests"], report["refused"]) == (2, 1)
    assert report["limits"] == [
        {"limit": "2 requests/day", "amount": 2, "used": 2, "held": 0, "left": 0}
    ]


def test_32_threads_get_exactly_what_there_is(api):
    def post(_):
        try:
            return requests.post(f"{api.url}/v1/items", timeout=10).status_code
        except QuotaExceeded:
            return None

    with (
        Watch(Api("Items", api.url, ["50 requests/day", "60 requests/hour"])) as watch,
        ThreadPoolExecutor(32) as pool,
    ):
        statuses = list(pool.map(post, range(120)))
    assert statuses.count(200) == api.requests == 50
    assert [limit["used"] for limit in watch.report()[0]["limits"]] == [50, 50]


def test_a_refusal_by_one_limit_takes_nothing_of_another(api):
    with Watch(Api("Items", api.url, ["100 requests/hour", "1 requests/day"])) as watch:
        http.get(api.url)
        for _ in range(5):
            refused(http.get, api.url)
        assert [limit["used"] for limit in watch.report()[0]["limits"]] == [1, 1]


def test_a_request_that_another_watch_refuses_costs_nothing(api):
    roomy = Watch(Api("roomy", api.url, ["9 requests/day"]))
    with roomy, Watch(Api("tight", api.url, ["1 requests/day"])):
        http.get(api.url)
        assert refused(http.get, api.url).api == "tight"
    assert roomy.report()[0]["limits"][0] == {
        "limit": "9 requests/day", "amount": 9, "used": 1, "held": 0, "left": 8,
    }  # fmt: skip


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid"])
def test_a_request_that_never_left_costs_nothing(post, url):
    with Watch(Api("Nobody", url, ["2 requests/day"])) as watch:
        with pytest.raises(Exception, match=r"."):
            post(url)
        assert watch.report()[0]["limits"][0]["used"] == 0


def test_one_that_left_and_was_not_answered_counts(post):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=_hang_up, args=(server,)).start()
        with Watch(Api("Rude", url, ["9 requests/day"])) as watch:
            with pytest.raises(Exception, match=r"."):
                post(url)
            assert watch.report()[0]["limits"][0]["used"] >= 1
        server.shutdown(socket.SHUT_RDWR)


def _hang_up(server):
    with suppress(OSError):  # the server is closed
        while True:
            with server.accept()[0] as connection:
                connection.recv(65_536)


def test_threads_wait_for_the_next_window(api):
    limit = Api("Items", api.url, ["5 requests/second"])
    with Watch(limit, on_limit="wait") as watch, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: http.get(api.url).status_code, range(11)))
    assert statuses == [200] * 11
    (report,) = watch.report()
    assert report["waited"] > 0 < report["waited_seconds"]
    assert (report["requests"], report["refused"]) == (11, 0)


async def test_tasks_wait_without_stopping_their_loop(api):
    async def get(client):
        return (await client.get(api.url)).status_code

    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    with Watch(Api("Items", api.url, ["2 requests/second"]), on_limit="wait") as watch:
        turning = asyncio.create_task(turn())
        async with httpx.AsyncClient() as client:
            assert await asyncio.gather(*(get(client) for _ in range(3))) == [200] * 3
        turning.cancel()
    waited = watch.report()[0]["waited_seconds"]
    assert turns > waited / 0.005 / 20


async def test_a_task_that_is_cancelled_while_it_asks_gives_back_what_it_got(api, blocking):
    limit = Api("Items", api.url, ["5 requests/day"])
    blocking.answer.clear()
    async with httpx.AsyncClient() as client:
        with Watch(limit, ledger=blocking) as watch:
            asking = asyncio.create_task(client.get(api.url))
            await asyncio.to_thread(blocking.entered.wait, 20)  # the hold is made, not yet told
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            blocking.answer.set()
            await asyncio.to_thread(blocking.released.wait, 20)
    assert asking.cancelled()
    assert watch.report()[0]["limits"][0]["held"] == 0
    assert api.requests == 0


async def test_a_synchronous_request_in_a_loop_is_refused_rather_than_stopping_it(api):
    with Watch(Api("Items", api.url, ["1 requests/day"]), on_limit="wait"):
        http.get(api.url)  # noqa: ASYNC212  that is what is tested
        refused(http.get, api.url)


def test_who_would_wait_too_long_is_refused_at_once(api):
    with Watch(Api("Items", api.url, ["1 requests/day"]), on_limit="wait", wait=0.5):
        http.get(api.url)
        began = time.monotonic()
        assert refused(http.get, api.url).retry_after > 0
    assert time.monotonic() - began < 60


def test_a_ledger_that_does_not_answer_lets_nothing_through(api):
    with (
        Watch(Api("Items", api.url, ["1 requests/day"]), ledger=Away()),
        pytest.raises(LedgerUnavailable),
    ):
        http.get(api.url)
    assert api.requests == 0


class TestInSdks:
    def test_who_says_it_is_one_gets_an_answer(self, api):
        with Watch(Api("Items", api.url, ["1 requests/day"])):
            http.get(api.url)
            answer = http.get(api.url, headers={"x-stainless-lang": "python"})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
        assert answer.json()["error"]["type"] == "QuotaExceeded"
        assert api.requests == 1

    def test_openai_is_answered_as_the_api_itself_would_and_does_not_retry(self, provider):
        client = openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=1)
        with client, Watch(Api("OpenAI", provider.url, ["1 requests/day"])) as watch:
            client.chat.completions.create(**CHAT)
            with pytest.raises(openai.RateLimitError, match="1 request are used") as raised:
                client.chat.completions.create(**CHAT)
        assert raised.value.body["type"] == "QuotaExceeded"
        assert int(raised.value.response.headers["retry-after"]) > 0
        assert provider.requests == 1
        assert watch.report()[0]["refused"] == 1

    async def test_so_is_anthropic(self, provider):
        asked = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": CHAT["messages"]}
        client = anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="test")
        async with client:
            with Watch(Api("Anthropic", provider.url, ["1 requests/day"])):
                await client.messages.create(**asked)
                with pytest.raises(anthropic.RateLimitError):
                    await client.messages.create(**asked)
        assert provider.requests == 1

    def test_a_ledger_that_is_away_is_told_too(self, provider):
        client = openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=1)
        with (
            client,
            Watch(Api("OpenAI", provider.url, ["1 requests/day"]), ledger=Away()),
            pytest.raises(openai.InternalServerError, match="ledger is unavailable"),
        ):
            client.chat.completions.create(**CHAT)
        assert provider.requests == 0

    def test_each_retry_of_an_sdk_counts(self, provider):
        provider.script(Reply(status=500, retry_after=0), Reply(status=429, retry_after=0))
        client = openai.OpenAI(base_url=provider.openai_url, api_key="test")
        watching = Watch(Api("OpenAI", provider.url, ["9 requests/day"]), learn=False)
        with client, watching as watch:
            client.chat.completions.create(**CHAT)
        (report,) = watch.report()
        assert report["limits"][0]["used"] == provider.requests == 3
        assert (report["errors"], report["hit429"]) == (2, 1)


class TestTokens:
    @pytest.fixture
    def watch(self, provider):
        limits = ["1M tokens/day", "1000 requests/day"]
        with Watch(Api("OpenAI", provider.url, limits)) as watching:
            yield watching

    def test_what_an_answer_told_is_what_is_used(self, provider, watch, post):
        provider.default = Reply("Salt is salt.", output_tokens=40)
        assert post(f"{provider.openai_url}/chat/completions", json=CHAT) == 200
        (bill,) = provider.bills
        used = tokens_of(watch)
        assert used["used"] == bill.input_tokens + bill.output_tokens
        assert used["held"] == 0

    def test_of_a_stream_too(self, provider, watch):
        provider.default = Reply("Salt is salt.", output_tokens=40)
        client = openai.OpenAI(base_url=provider.openai_url, api_key="test")
        with client:
            stream = client.chat.completions.create(
                **CHAT, stream=True, stream_options={"include_usage": True}
            )
            assert tokens_of(watch)["held"] > 0
            assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        (bill,) = provider.bills
        assert tokens_of(watch)["used"] == bill.input_tokens + bill.output_tokens

    def test_what_does_not_tell_came_to_what_was_held(self, provider, watch):
        client = openai.OpenAI(base_url=provider.openai_url, api_key="test")
        with client:
            stream = client.chat.completions.create(**CHAT, stream=True, max_tokens=500)
            held = tokens_of(watch)["held"]
            list(stream)
        assert tokens_of(watch) == {**tokens_of(watch), "used": held, "held": 0}
        assert 500 < held < 600

    def test_an_error_of_the_api_costs_no_tokens(self, provider, watch, post):
        provider.script(Reply(status=400))
        assert post(f"{provider.openai_url}/chat/completions", json=CHAT) == 400
        assert tokens_of(watch) == {**tokens_of(watch), "used": 0, "held": 0}

    def test_a_request_that_asks_no_model_has_none(self, provider, watch):
        http.get(f"{provider.openai_url}/models")
        assert tokens_of(watch)["used"] == 0

    def test_one_that_has_not_the_tokens_is_not_sent(self, provider):
        with Watch(Api("OpenAI", provider.url, ["600 tokens/day"])):
            ask = {
                "url": f"{provider.openai_url}/chat/completions",
                "json": {**CHAT, "max_tokens": 500},
            }
            http.post(**ask)
            assert http.post(**ask).status_code == 200  # the first told that it needed few
            error = refused(http.post, **{**ask, "json": {**CHAT, "max_tokens": 700}})
        assert error.limit.startswith("of 600 tokens/day, ")
        assert error.retry_after is None
        assert provider.requests == 2

    async def test_an_answer_that_nobody_reads_came_to_what_was_held(self, provider, watch):
        async with aiohttp.ClientSession() as session:
            url = f"{provider.openai_url}/chat/completions"
            async with session.post(url, json={**CHAT, "max_tokens": 500}):
                assert tokens_of(watch)["held"] > 500
        assert tokens_of(watch)["held"] == 0 < tokens_of(watch)["used"]


@pytest.mark.parametrize("status", [404, 429, 503])
def test_an_answer_that_aiohttp_raises_counts_as_any_other(api, status):
    api.status = status

    async def get():
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            await session.get(api.url)

    calls = []
    with Watch(Api("Items", api.url, ["5 requests/min"]), on_call=calls.append) as watch:
        with pytest.raises(aiohttp.ClientResponseError):
            asyncio.run(get())
        (report,) = watch.report()
    assert [(call.status, call.hit429) for call in calls] == [(status, status == 429)]
    assert report["limits"][0]["used"] == api.requests == 1
