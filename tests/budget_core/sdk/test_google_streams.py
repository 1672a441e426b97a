"""Streams of google-genai as other tools see and wrap them."""

import inspect

import pytest

pytest.importorskip("google.genai")

from google import genai
from google.genai import models

import budget_core


class Iterable:
    """What an instrumentation puts in a stream's place: ``for`` reads it, and `next` does not."""

    def __init__(self, chunks):
        self._chunks = chunks

    def __iter__(self):
        yield from self._chunks


class AsyncIterable:
    def __init__(self, chunks):
        self._chunks = chunks

    async def __aiter__(self):
        async for chunk in self._chunks:
            yield chunk


@pytest.fixture
async def client(provider):
    client = genai.Client(api_key="k", http_options={"base_url": provider.google_url})
    yield client
    await client.aio.aclose()
    client.close()


@pytest.fixture
def instrumented(monkeypatch):
    plain, aplain = (
        models.Models.generate_content_stream,
        models.AsyncModels.generate_content_stream,
    )

    async def awaited(self, **asked):
        return AsyncIterable(await aplain(self, **asked))

    monkeypatch.setattr(
        models.Models,
        "generate_content_stream",
        lambda self, **asked: Iterable(plain(self, **asked)),
    )
    monkeypatch.setattr(models.AsyncModels, "generate_content_stream", awaited)


@pytest.fixture
def session():
    yield budget_core.init("$5", max_repeated_calls=None)
    budget_core.teardown()


def ways(client):
    ask = {"model": "gemini-2.5-flash", "contents": "hi"}
    return {
        "model": lambda at: at.models.generate_content_stream(**ask),
        "chat": lambda at: at.chats.create(model=ask["model"]).send_message_stream("hi"),
    }


@pytest.mark.parametrize("way", ["model", "chat"])
class TestInstrumented:
    def test_it_need_not_be_an_iterator(self, instrumented, session, client, provider, way):
        assert list(ways(client)[way](client))
        assert session.spent_nanos == provider.bill_nanos > 0

    async def test_so_it_is_for_tasks(self, instrumented, session, client, provider, way):
        assert [chunk async for chunk in await ways(client)[way](client.aio)]
        assert session.spent_nanos == provider.bill_nanos > 0

    def test_one_that_is_left_is_closed(self, instrumented, session, client, provider, way):
        reader = iter(ways(client)[way](client))
        next(reader)
        reader.close()
        assert session.reserved == 0


@pytest.mark.parametrize("way", ["model", "chat"])
class TestGenerators:
    def test_a_stream_is_one(self, session, client, way):
        stream = ways(client)[way](client)
        assert inspect.isgenerator(stream)
        assert list(stream)

    async def test_so_it_is_for_tasks(self, session, client, way):
        stream = await ways(client)[way](client.aio)
        assert inspect.isasyncgen(stream)
        assert [chunk async for chunk in stream]

    def test_one_that_is_tracked_is_not_charged_again(self, session, client, provider, way):
        assert list(session.wrap(ways(client)[way](client)))
        assert session.spent_nanos == provider.bill_nanos > 0
