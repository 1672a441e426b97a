"""What an error tells of money: a status counts if an HTTP client has received it."""

import asyncio
import json
import urllib.error
import urllib.request
from types import SimpleNamespace

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
import requests
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from budget_core.calls.outcomes import handled, unbilled
from budget_core.testing import Reply


def raised(function, *args, **kwargs):
    with pytest.raises(Exception) as caught:
        function(*args, **kwargs)
    return caught.value


# -- statuses that no answer had ---------------------------------------------------------------


class Made(Exception):
    """As LiteLLM makes one for a connection that was lost, with an answer that never was."""

    status_code = 500

    def __init__(self):
        super().__init__("InternalServerError")
        request = httpx.Request("POST", "https://nowhere.example")
        self.response = httpx.Response(500, request=request)


class Coded(Exception):
    code = 2001


class Stated(Exception):
    status = 503


class ConnectError(Exception):
    """Of an application that has lost a database."""


@pytest.mark.parametrize(
    "error",
    [
        Made(),
        Coded(),
        Stated(),
        ConnectError(),
        ConnectionClosedError(Close(1011, "internal error"), None),
        RuntimeError("the database's client has been closed"),
        httpx.ReadError("reset"),
        requests.exceptions.ChunkedEncodingError(
            requests.packages.urllib3.exceptions.ProtocolError()
        ),
        aiohttp.ServerDisconnectedError(),
        json.JSONDecodeError("no", "", 0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_number_that_is_no_answers_status_proves_nothing(error):
    assert not unbilled(error)
    assert not unbilled(error, before=handled())


# -- answers -----------------------------------------------------------------------------------

MESSAGES = [{"role": "user", "content": "hi"}]
ASKED = {"model": "gpt-4o", "messages": MESSAGES}


def by_openai(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as client:
        client.chat.completions.create(**ASKED)


def by_anthropic(provider):
    with anthropic.Anthropic(base_url=provider.url, api_key="test", max_retries=0) as client:
        client.messages.create(model="claude-sonnet-4-6", messages=MESSAGES, max_tokens=9)


def by_httpx(provider):
    httpx.post(f"{provider.openai_url}/chat/completions", json=ASKED).raise_for_status()


def by_httpx2(provider):
    httpx2.post(f"{provider.openai_url}/chat/completions", json=ASKED).raise_for_status()


def by_a_stream(provider):
    with httpx.stream("POST", f"{provider.openai_url}/chat/completions", json=ASKED) as answer:
        answer.raise_for_status()


def by_requests(provider):
    requests.post(
        f"{provider.openai_url}/chat/completions", json=ASKED, timeout=20
    ).raise_for_status()


async def by_a_session(provider):
    url = f"{provider.openai_url}/chat/completions"
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        answer = await session.post(url, json=ASKED)
        await answer.read()


def by_aiohttp(provider):
    asyncio.run(by_a_session(provider))


def by_urllib(provider):
    request = urllib.request.Request(  # noqa: S310
        f"{provider.openai_url}/chat/completions",
        data=json.dumps(ASKED).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=20)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise


def converted(provider):
    """As LiteLLM does it: its own error, with an answer that it makes up, behind which is one."""
    try:
        by_httpx(provider)
    except httpx.HTTPError:
        raise Made from None


@pytest.mark.parametrize(
    "ask",
    [
        by_openai, by_anthropic, by_httpx, by_httpx2, by_a_stream, by_requests, by_aiohttp,
        by_urllib, converted,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("status", "free"), [(429, True), (500, True), (504, False)])
def test_the_status_of_an_answer_does(provider, ask, status, free):
    provider.default = Reply(status=status)
    assert unbilled(raised(ask, provider), before=handled()) == free


@pytest.mark.parametrize(
    "ask", [by_openai, by_anthropic, by_httpx, by_requests, by_aiohttp, converted]
)
def test_so_does_a_connection_that_was_never_made(ask):
    nobody = SimpleNamespace(url="http://127.0.0.1:9", openai_url="http://127.0.0.1:9/v1")
    assert unbilled(raised(ask, nobody), before=handled())


@pytest.mark.parametrize(
    "ask", [by_openai, by_anthropic, by_httpx, by_httpx2, by_requests, by_aiohttp, converted]
)
def test_an_answer_that_is_lost_is_billed(provider, ask):
    provider.default = Reply("done", drop_after=0)
    assert not unbilled(raised(ask, provider), before=handled())


# -- what else lies behind an error ------------------------------------------------------------


def test_an_error_that_is_its_own_cause_comes_to_an_end():
    error, other = ValueError("not what was asked for"), ValueError("nor this")
    error.__cause__ = error
    assert not unbilled(error)
    error.__cause__, other.__cause__ = other, error
    assert not unbilled(error)


def test_what_never_left_is_found_behind_other_errors():
    error = ConnectionError("no")
    error.__cause__ = httpx.ConnectError("refused")
    assert unbilled(error)


def test_the_answer_to_an_earlier_call_says_nothing(provider):
    """A program asks another model where it handles the error of the first."""
    provider.default = Reply(status=429)
    try:
        by_openai(provider)
    except openai.RateLimitError:
        before, error = handled(), raised(int, "cannot be read")
    assert isinstance(error.__context__, openai.RateLimitError)
    assert not unbilled(error, before=before)
    assert not unbilled(error)


@pytest.mark.parametrize("second", [httpx.ReadTimeout("late"), asyncio.CancelledError()])
def test_nor_does_that_to_an_attempt_before_the_one_that_may_be_billed(provider, second):
    provider.default, before = Reply(status=429), handled()
    try:
        by_httpx(provider)
    except httpx.HTTPStatusError:
        with pytest.raises(type(second)) as caught:
            raise second  # noqa: B904  as those do that nobody has raised for another
    assert not unbilled(caught.value, before=before)


def test_what_a_guard_has_seen_needs_no_error():
    answer = httpx.Response(429)
    assert unbilled(None, answer)
    assert not unbilled(None, httpx.Response(504))
    assert not unbilled(None, httpx.Response(200))


def test_aiohttp_is_not_asked_for_what_it_warns_of():
    assert unbilled(aiohttp.ClientResponseError(None, (), status=500))  # of its `code`
