"""What holds for the streams of every API."""

import pytest

from budget_core.testing import Reply

HELLO = [{"role": "user", "content": "Hello there"}]
CHAT = {"model": "gpt-4o", "messages": HELLO, "stream": True}
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 2000, "messages": HELLO, "stream": True}
THINKING = {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 1024}}
GEMINI = {"contents": [{"parts": [{"text": "Hello there"}]}]}
VERTEX = "/v1/projects/p/locations/l/publishers"

STREAMS = [
    ("/v1/chat/completions", CHAT),
    ("/v1/completions", {"model": "gpt-4o", "prompt": "Hello there", "stream": True}),
    ("/v1/responses", {"model": "gpt-4o", "input": "Hello there", "stream": True}),
    ("/v1/messages", MESSAGES),
    ("/v1/messages?beta=true", THINKING),
    (f"{VERTEX}/anthropic/models/claude-haiku-4-5:streamRawPredict", MESSAGES),
    ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI),
    ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", GEMINI),
]


def read_until(parts, mark):
    seen = b""
    for part in parts:
        seen += part
        if mark in seen:
            return seen
    raise AssertionError(f"the stream ended without {mark!r}")


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_each_chunk_arrives_when_it_is_written(http, provider, path, body):
    provider.script(Reply("abcdefgh", reasoning_tokens=1, chunk_delay=60))
    first = b"tok " if "thinking" in body else b"abcd"
    with http.stream("POST", path, json=body, timeout=10) as answer:
        seen = read_until(answer.iter_raw(), first)
    provider.wait_idle()
    bill = provider.bills[0]
    hidden = 0 if "thinking" in body else 1
    assert b"efgh" not in seen
    assert (bill.output_tokens, bill.aborted, bill.streamed) == (hidden + 1, True, True)


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_the_chunks_of_a_stream_arrive_one_by_one(http, provider, path, body):
    provider.script(Reply("abcdefgh" * 3, chunk_delay=0.02))
    with http.stream("POST", path, json=body) as answer:
        parts = list(answer.iter_raw())
    assert len([part for part in parts if b"abcd" in part]) >= 3
    assert not any(b"abcd" in part and b"efgh" in part for part in parts[:3])
    assert provider.bills[0].output_tokens == 6
