import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import httpx
import openai
import pytest

from budget_core.testing import Gate, Reply

HELLO = [{"role": "user", "content": "Hello there"}]
INPUT = 7
LONG = "abcd" * 100_000


def ask(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o-mini", "messages": HELLO, **options})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (504, openai.InternalServerError),
    ],
)
def test_errors_are_shaped_and_free(client, provider, status, kind):
    provider.script(Reply("that went wrong", status=status))
    with pytest.raises(kind, match="that went wrong"):
        ask(client)
    bill = provider.bills[0]
    assert (bill.status, bill.nanos, bill.input_tokens) == (status, 0, 0)


def test_an_error_may_be_billed(client, provider):
    provider.script(Reply(output_tokens=50, status=504, billed=True))
    with pytest.raises(openai.InternalServerError, match="scripted error 504"):
        ask(client)
    assert provider.bill_nanos == INPUT * 150 + 50 * 600


@pytest.mark.parametrize("seconds", [0, 0.001, 30])
def test_retry_after_is_sent_in_both_headers(client, provider, seconds):
    provider.script(Reply(status=429, retry_after=seconds))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    headers = caught.value.response.headers
    assert float(headers["retry-after"]) == {0: 0, 0.001: 1, 30: 30}[seconds]
    assert float(headers["retry-after-ms"]) == max(1, seconds * 1000)


def test_sdks_retry(client, claude, provider):
    provider.script(Reply(status=429, retry_after=0), Reply(status=500, retry_after=0), Reply("a"))
    assert ask(client.with_options(max_retries=2)).choices[0].message.content == "a"
    provider.script(Reply(status=529, retry_after=0), Reply("b"))
    message = claude.with_options(max_retries=1).messages.create(
        model="claude-haiku-4-5", max_tokens=5, messages=HELLO
    )
    assert message.content[0].text == "b"
    assert [bill.status for bill in provider.bills] == [429, 500, 200, 529, 200]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/chat/completions", b"{", "JSON"),
        ("/v1/chat/completions", b"[]", "object"),
        ("/v1/chat/completions", {"messages": HELLO}, "'model'"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": []}, "'messages'"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": ["Hi"]}, "role"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": "Hi"}, "role"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "tools": [1]}, "tool"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "n": -1}, "'n'"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO, "max_tokens": 0}, "max_t"),
        ("/v1/responses", {"model": "gpt-4o"}, "'input'"),
        ("/v1/completions", {"model": "gpt-4o", "prompt": 5}, "malformed"),
    ],
)
def test_malformed_requests_are_refused_for_free(http, provider, path, body, said):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = http.post(path, content=raw)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert (provider.requests, provider.bill_nanos, provider.in_flight) == (1, 0, 0)
    assert provider.bills[0].status == 400


def test_other_paths_are_refused(http, provider):
    assert http.post("/v1/other", json={}).status_code == 404
    assert http.get("/v1/other").status_code == 405
    assert [bill.path for bill in provider.bills] == ["/v1/other"]


def test_a_dropped_stream_is_billed_as_far_as_it_came(client, provider):
    provider.script(Reply("abcd" * 10, drop_after=3))
    seen = []
    with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - the loop must raise
        for chunk in ask(client, stream=True):
            seen.append(chunk.choices[0].delta.content)
    assert seen == ["abcd"] * 3
    bill = provider.bills[0]
    assert (bill.output_tokens, bill.dropped, bill.aborted) == (3, True, False)
    assert provider.bill_nanos == INPUT * 150 + 3 * 600


@pytest.mark.parametrize("after", [2, 99])
def test_a_stream_dropped_at_its_end_has_neither_finish_nor_usage(http, provider, after):
    provider.script(Reply("abcdefgh", drop_after=after))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    body["stream_options"] = {"include_usage": True}
    text = ""
    with (  # noqa: PT012
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        for part in answer.iter_text():
            text += part
    assert text.count('"content"') == 2
    assert '"stop"' not in text
    assert "[DONE]" not in text
    assert provider.bills[0].output_tokens == 2
    assert provider.bills[0].dropped


def test_a_stream_dropped_at_once(claude, provider):
    provider.script(Reply("abcd", drop_after=0))
    events = claude.messages.create(
        model="claude-haiku-4-5", max_tokens=5, messages=HELLO, stream=True
    )
    with pytest.raises(Exception, match="incomplete chunked read"):
        list(events)
    assert provider.bill_nanos == INPUT * 1000


def test_a_dropped_stream_without_tokens(http, provider):
    provider.script(Reply("", drop_after=1))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/chat/completions", json=body)
    assert provider.bill_nanos == INPUT * 2500


def test_a_reader_that_leaves_after_the_last_token_owes_everything(http, provider):
    provider.script(Reply("abcdefgh", chunk_delay=0.001))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
    provider.wait_idle()
    bill = provider.bills[0]
    assert bill.nanos == INPUT * 2500 + bill.output_tokens * 10_000


def test_a_dropped_answer_is_billed_in_full(client, provider):
    provider.script(Reply("abcd", drop_after=0))
    with pytest.raises(openai.APIConnectionError):
        ask(client)
    assert provider.bill_nanos == INPUT * 150 + 600
    assert provider.bills[0].dropped


def test_leaving_a_stream_stops_the_bill(client, provider):
    provider.script(Reply(LONG))
    with ask(client, stream=True) as chunks:
        for _ in range(3):
            next(chunks)
    provider.wait_idle()
    bill = provider.bills[0]
    assert bill.aborted
    assert 3 <= bill.output_tokens < 100_000
    assert bill.nanos == INPUT * 150 + bill.output_tokens * 600


async def test_leaving_a_slow_stream_bills_exactly_what_was_written(provider):
    provider.script(Reply("abcdefgh", chunk_delay=60))
    async with (
        openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client,
        await ask(client, stream=True) as chunks,
    ):
        await anext(chunks)
    await asyncio.to_thread(provider.wait_idle)
    bill = provider.bills[0]
    assert (bill.output_tokens, bill.aborted, bill.status) == (1, True, 200)


async def test_a_cancelled_task_aborts_its_stream(provider):
    provider.script(Reply("abcd" * 5, delay=60))
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="test") as client:
        task = asyncio.create_task(
            client.messages.create(
                model="claude-haiku-4-5", max_tokens=50, messages=HELLO, stream=True
            )
        )
        await asyncio.to_thread(provider.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(provider.wait_idle)
    bill = provider.bills[0]
    assert (bill.output_tokens, bill.nanos, bill.status) == (0, INPUT * 1000, 0)
    assert bill.aborted


def test_a_timed_out_answer_is_finished_and_billed(client, provider):
    provider.script(Reply("abcd", delay=60))
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.05))
    provider.wait_idle()
    assert provider.bills[0].aborted
    assert provider.bill_nanos == INPUT * 150 + 600


def test_a_timed_out_error_is_free(client, provider):
    provider.script(Reply(status=500, delay=60))
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.05))
    provider.wait_idle()
    assert provider.bills[0].aborted
    assert provider.bill_nanos == 0


def test_a_client_that_leaves_at_a_gate(client, provider):
    provider.script(Reply("abcd", gate=Gate(2)))
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.05))
    provider.wait_idle()
    assert provider.bill_nanos == INPUT * 150 + 600


def test_small_delays_are_waited_for(client, provider):
    provider.script(Reply("abcdefgh", delay=0.001, chunk_delay=0.001))
    assert len(list(ask(client, stream=True))) == 3
    assert not provider.bills[0].aborted


def test_a_gate_lets_all_through_at_once(client, provider):
    gate = Gate(4)
    provider.default = Reply("Hi", gate=gate)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, client) for _ in range(4)]
        assert {answer.result().choices[0].message.content for answer in answers} == {"Hi"}
    assert provider.peak_in_flight == 4
    assert provider.in_flight == 0
    assert gate.is_set()
    assert not gate.timed_out
    ask(client)


def test_a_gate_may_be_opened_by_hand(client, provider):
    gate = Gate(100)
    provider.script(Reply("Hi", gate=gate))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client)
        provider.wait_for_requests(1)
        assert provider.in_flight == 1
        assert provider.bills[0].status == 0
        gate.open()
        assert answer.result().choices
    assert gate.waiting == 0


def test_a_gate_opens_by_itself_in_the_end(client, provider):
    gate = Gate(2, timeout=0.01)
    provider.script(Reply("Hi", gate=gate))
    assert ask(client).choices
    assert gate.timed_out


def test_an_event_is_a_gate(client, provider):
    event = threading.Event()
    provider.script(Reply("Hi", gate=event))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client)
        provider.wait_for_requests(1)
        event.set()
        assert answer.result().choices
    assert provider.peak_in_flight == 1


def test_an_event_is_not_waited_for_forever(client, provider, monkeypatch):
    monkeypatch.setattr("budget_core.testing.exchange.EVENT_TIMEOUT", 0.01)
    provider.script(Reply("Hi", gate=threading.Event()))
    assert ask(client).choices
