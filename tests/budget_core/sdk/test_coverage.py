"""The coverage table: every way through the openai and anthropic SDKs, sync and async.

For each way: the bill is what the session spent, nothing is sent when it does not fit, retries
are paid for as they come, and without a session the SDK does what it always did. google-genai's
ways are in `test_google`.
"""

import anthropic
import openai
import pydantic
import pytest

from budget_core import BudgetExhausted, wrap_client
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
CHAT = {"model": "gpt-4o", "messages": SAY}
CLAUDE = {"model": "claude-sonnet-4-6", "messages": SAY, "max_tokens": 60}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CLAUDE_TOOL = {"name": "f", "input_schema": {"type": "object"}}
JSON = '{"city": "Paris"}'


class Answer(pydantic.BaseModel):
    city: str


def _managed(call, read=list):
    """Enter what `call` returns, and read it."""

    def way(client):
        with call(client) as inside:
            return read(inside)

    return way


def _amanaged(call, read=None):
    async def way(client):
        async with call(client) as inside:
            return [each async for each in inside] if read is None else await read(inside)

    return way


def _listed(call):
    return lambda client: list(call(client))


def _alisted(call):
    async def way(client):
        return [each async for each in await call(client)]

    return way


OPENAI = {
    "create": lambda c: c.chat.completions.create(**CHAT),
    "create with tools": lambda c: c.chat.completions.create(**CHAT, tools=[TOOL]),
    "create n=3": lambda c: c.chat.completions.create(**CHAT, n=3),
    "extra_body": lambda c: c.chat.completions.create(**CHAT, extra_body={"max_tokens": 7}),
    "parse": lambda c: c.chat.completions.parse(**CHAT, response_format=Answer),
    "stream=True": _listed(lambda c: c.chat.completions.create(**CHAT, stream=True)),
    "stream helper": _managed(lambda c: c.chat.completions.stream(**CHAT)),
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "raw stream": lambda c: list(
        c.chat.completions.with_raw_response.create(**CHAT, stream=True).parse()
    ),
    "streaming_response": _managed(
        lambda c: c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.json()
    ),
    "streaming_response lines": _managed(
        lambda c: c.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        lambda r: list(r.iter_lines()),
    ),
    "client.post": lambda c: c.post("/chat/completions", body=CHAT, cast_to=object),
    "with_options": lambda c: c.with_options(timeout=30).chat.completions.create(**CHAT),
    "copy": lambda c: c.copy(timeout=20).chat.completions.create(**CHAT),
    "completions": lambda c: c.completions.create(model="gpt-3.5-turbo", prompt="Say hello."),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
    "responses": lambda c: c.responses.create(model="gpt-4o", input="Say hello."),
    "responses.parse": lambda c: c.responses.parse(
        model="gpt-4o", input="Say hello.", text_format=Answer
    ),
    "responses stream=True": _listed(
        lambda c: c.responses.create(model="gpt-4o", input="Say hello.", stream=True)
    ),
    "responses.stream": _managed(lambda c: c.responses.stream(model="gpt-4o", input="Say hello.")),
}

AOPENAI = OPENAI | {
    "raw": None,
    "raw stream": None,
    "stream=True": _alisted(lambda c: c.chat.completions.create(**CHAT, stream=True)),
    "stream helper": _amanaged(lambda c: c.chat.completions.stream(**CHAT)),
    "streaming_response": _amanaged(
        lambda c: c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.json()
    ),
    "streaming_response lines": _amanaged(
        lambda c: c.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        lambda r: _all(r.iter_lines()),
    ),
    "responses stream=True": _alisted(
        lambda c: c.responses.create(model="gpt-4o", input="Say hello.", stream=True)
    ),
    "responses.stream": _amanaged(lambda c: c.responses.stream(model="gpt-4o", input="Say hello.")),
}


async def _all(things):
    return [each async for each in things]


async def _araw(client):
    response = await client.chat.completions.with_raw_response.create(**CHAT)
    return response.parse()


async def _araw_stream(client):
    response = await client.chat.completions.with_raw_response.create(**CHAT, stream=True)
    return await _all(response.parse())


AOPENAI |= {"raw": _araw, "raw stream": _araw_stream}

ANTHROPIC = {
    "create": lambda c: c.messages.create(**CLAUDE),
    "create with tools": lambda c: c.messages.create(**CLAUDE, tools=[CLAUDE_TOOL]),
    "extra_body": lambda c: c.messages.create(**CLAUDE, extra_body={"max_tokens": 7}),
    "stream=True": _listed(lambda c: c.messages.create(**CLAUDE, stream=True)),
    "stream helper": _managed(
        lambda c: c.messages.stream(**CLAUDE), lambda s: s.get_final_message()
    ),
    "text stream": _managed(lambda c: c.messages.stream(**CLAUDE), lambda s: list(s.text_stream)),
    "raw": lambda c: c.messages.with_raw_response.create(**CLAUDE).parse(),
    "streaming_response": _managed(
        lambda c: c.messages.with_streaming_response.create(**CLAUDE), lambda r: r.json()
    ),
    "streaming_response lines": _managed(
        lambda c: c.messages.with_streaming_response.create(**CLAUDE, stream=True),
        lambda r: list(r.iter_lines()),
    ),
    "client.post": lambda c: c.post("/v1/messages", body=CLAUDE, cast_to=object),
    "with_options": lambda c: c.with_options(timeout=30).messages.create(**CLAUDE),
    "copy": lambda c: c.copy(timeout=20).messages.create(**CLAUDE),
    "beta": lambda c: c.beta.messages.create(**CLAUDE),
    "beta stream": _managed(
        lambda c: c.beta.messages.stream(**CLAUDE), lambda s: s.get_final_message()
    ),
    "one-shot messages": lambda c: (
        c.messages.create(**CLAUDE | {"messages": iter(SAY)})
        if int(anthropic.__version__.partition(".")[0]) > 1
        else c.messages.create(**CLAUDE)
    ),
}

AANTHROPIC = ANTHROPIC | {
    "stream=True": _alisted(lambda c: c.messages.create(**CLAUDE, stream=True)),
    "stream helper": _amanaged(
        lambda c: c.messages.stream(**CLAUDE), lambda s: s.get_final_message()
    ),
    "text stream": _amanaged(lambda c: c.messages.stream(**CLAUDE), lambda s: _all(s.text_stream)),
    "streaming_response": _amanaged(
        lambda c: c.messages.with_streaming_response.create(**CLAUDE), lambda r: r.json()
    ),
    "streaming_response lines": _amanaged(
        lambda c: c.messages.with_streaming_response.create(**CLAUDE, stream=True),
        lambda r: _all(r.iter_lines()),
    ),
    "beta stream": _amanaged(
        lambda c: c.beta.messages.stream(**CLAUDE), lambda s: s.get_final_message()
    ),
}


async def _araw_message(client):
    response = await client.messages.with_raw_response.create(**CLAUDE)
    parsed = response.parse()
    return await parsed if hasattr(parsed, "__await__") else parsed


AANTHROPIC |= {"raw": _araw_message}

TABLE = {
    "openai": (openai.OpenAI, OPENAI),
    "openai async": (openai.AsyncOpenAI, AOPENAI),
    "anthropic": (anthropic.Anthropic, ANTHROPIC),
    "anthropic async": (anthropic.AsyncAnthropic, AANTHROPIC),
}
CELLS = [(sdk, way) for sdk, (_, ways) in TABLE.items() for way in ways]


@pytest.fixture(params=CELLS, ids=lambda cell: f"{cell[0]}: {cell[1]}")
def cell(request):
    return request.param


@pytest.fixture
def make(provider):
    """Make an SDK's client, and close it in the end."""
    made = []

    def client(sdk):
        url = provider.openai_url if sdk.startswith("openai") else provider.anthropic_url
        made.append(TABLE[sdk][0](base_url=url, api_key="test"))
        return made[-1]

    yield client
    for each in made:
        if isinstance(each, openai.OpenAI | anthropic.Anthropic):
            each.close()


@pytest.fixture
async def go(cell, make):
    """Go the way of this cell, with a client of its SDK or with one made of it."""
    sdk, way = cell
    client = make(sdk)

    async def run(change=lambda client: client):
        call = TABLE[sdk][1][way](change(client))
        return await call if hasattr(call, "__await__") else call

    yield run
    if sdk.endswith("async"):
        await client.close()


async def test_is_charged_what_the_provider_bills(provider, claiming, go):
    provider.default = Reply(JSON)
    with claiming() as session:
        await go()
    assert provider.requests == 1
    assert session.spent_nanos > 0


async def test_sends_nothing_when_it_does_not_fit(provider, claiming, go):
    with claiming("$0.0000001"), pytest.raises(BudgetExhausted):
        await go()
    assert provider.requests == 0


async def test_a_wrapped_client_is_charged_the_same(provider, claiming, go):
    provider.default = Reply(JSON)
    with claiming(ambient=False) as session:
        await go(lambda client: wrap_client(client, session))
    assert provider.requests == 1
    assert session.spent_nanos > 0


async def test_a_wrapped_client_sends_nothing_when_it_does_not_fit(provider, claiming, go):
    with claiming("$0.0000001", ambient=False) as session, pytest.raises(BudgetExhausted):
        await go(lambda client: wrap_client(client, session))
    assert provider.requests == 0


async def test_retries_are_paid_for_as_they_come(provider, claiming, go):
    provider.default = Reply(JSON)
    provider.script(Reply(status=429, retry_after=0), Reply(status=500, retry_after=0))
    with claiming() as session:
        await go(lambda client: client.with_options(max_retries=2))
    assert provider.requests == 3
    assert session.report()["breakdown"]["llm"]["calls"] == 1


async def test_is_untouched_without_a_session(provider, cell, go):
    provider.default = Reply(JSON)
    await go()
    own = 60 if cell[0].startswith("anthropic") else None
    bill = provider.bills[0]
    assert bill.body.get("stream_options") is None
    assert bill.output_cap == (7 if cell[1] == "extra_body" else own)
