"""Responses that are made in the background, and what becomes of their holds."""

import json

import httpx
import openai
import pytest

from budget_core import AgentBudget, wrap_client

INPUT, OUTPUT = 20, 50
BILL = INPUT * 1_250 + OUTPUT * 10_000
"""Of gpt-5, in nanos."""
USAGE = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
ASK = {"model": "gpt-5", "input": "Why?", "background": True, "max_output_tokens": 9_000}


def response(status, usage=None):
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "gpt-5",
        "background": True, "output": [], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": [], "usage": usage,
    }  # fmt: skip


def stream(*events):
    told = (
        {"type": f"response.{kind}", "sequence_number": at, "response": response(status, usage)}
        for at, (kind, status, usage) in enumerate(events)
    )
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in told)


CREATED = ("created", "queued", None)
COMPLETED = ("completed", "completed", USAGE)


class Server:
    """Answers from what it is given by method; a stream where it is asked for one."""

    def __init__(self):
        self.retrieved = self.cancelled = response("completed", USAGE)
        self.created = self.resumed = stream(CREATED, COMPLETED)

    def __call__(self, request):
        path, query = request.url.path, request.url.query
        if request.method == "DELETE":
            return httpx.Response(200, json={"id": "resp_1", "deleted": True})
        if path.endswith("/cancel"):
            return httpx.Response(200, json=self.cancelled)
        streams = b"stream=true" in query or b'"stream":true' in request.content
        if streams:
            body = self.created if request.method == "POST" else self.resumed
            pieces = [piece + b"\n\n" for piece in body.encode().split(b"\n\n") if piece]
            return httpx.Response(
                200, headers={"content-type": "text/event-stream"}, stream=Pieces(pieces)
            )
        made = response("queued") if request.method == "POST" else self.retrieved
        return httpx.Response(200, json=made)


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, pieces):
        self._pieces = pieces

    def __iter__(self):
        yield from self._pieces

    async def __aiter__(self):
        for piece in self._pieces:
            yield piece


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def session():
    with AgentBudget("$5").session() as session:
        yield session
        assert session.ledger.verify() == []


@pytest.fixture
def client(server, session):
    http = httpx.Client(transport=httpx.MockTransport(server))
    made = openai.OpenAI(base_url="http://openai.test/v1", api_key="k", http_client=http)
    return wrap_client(made, session)


@pytest.fixture
def aclient(server, session):
    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    made = openai.AsyncOpenAI(base_url="http://openai.test/v1", api_key="k", http_client=http)
    return wrap_client(made, session)


def test_it_is_held_until_it_is_looked_at(client, server, session):
    queued = client.responses.create(**ASK)
    assert session.reserved > 0.09
    assert session.spent == 0
    server.retrieved = response("in_progress")
    client.responses.retrieve(queued.id)
    assert session.reserved > 0.09
    server.retrieved = response("completed", USAGE)
    for _ in range(3):
        client.responses.retrieve(queued.id)
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


async def test_so_it_is_for_tasks(aclient, session):
    queued = await aclient.responses.create(**ASK)
    assert session.reserved > 0.09
    await aclient.responses.retrieve(queued.id)
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


def test_raw_responses(client, session):
    queued = client.responses.with_raw_response.create(**ASK).parse()
    assert session.reserved > 0.09
    client.responses.with_raw_response.retrieve(queued.id)
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


def test_one_that_is_cancelled_is_charged_as_it_says(client, server, session):
    server.cancelled = response("cancelled", USAGE)
    client.responses.cancel(client.responses.create(**ASK).id)
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


def test_or_what_can_have_been_written(client, server, session):
    server.cancelled = response("cancelled")
    client.responses.cancel(client.responses.create(**ASK).id)
    assert 0 < session.spent <= 0.1
    assert session.reserved == 0


def test_a_stream_of_it_may_be_left_and_resumed(client, session):
    with client.responses.create(**ASK, stream=True) as begun:
        queued = next(iter(begun)).response
    assert session.reserved > 0.09
    assert list(client.responses.retrieve(queued.id, stream=True))
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


async def test_so_may_a_tasks(aclient, session):
    async with await aclient.responses.create(**ASK, stream=True) as begun:
        queued = (await anext(aiter(begun))).response
    assert session.reserved > 0.09
    assert [event async for event in await aclient.responses.retrieve(queued.id, stream=True)]
    assert (session.spent_nanos, session.reserved) == (BILL, 0)


def test_one_that_is_deleted_is_charged_as_held(client, session):
    queued = client.responses.create(**ASK)
    held = session.balance().reserved.usd
    client.responses.delete(queued.id)
    assert (session.spent_nanos, session.reserved) == (held, 0)


def test_one_that_nobody_looks_at_is_charged_as_held(client, session):
    client.responses.create(**ASK)
    held = session.balance().reserved.usd
    session.close()
    assert (session.spent_nanos, session.reserved) == (held, 0)
