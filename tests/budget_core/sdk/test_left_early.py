"""Streams whose readers leave when they have what they want, and whose usage is told anywhere."""

import asyncio
import contextlib
import gc
import json
from itertools import pairwise

import anthropic
import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budget_core import AgentBudget, Usage, wrap_client
from budget_core.calls.partial import LEAST_ON_THE_WAY, ON_THE_WAY, pace_of, written
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
PROMPT, ANSWER = 10, 5
PENNY = 10_000
"""Nanos a token, at $10 a million."""


def events(*payloads, done=True):
    """Return the body of a stream."""
    lines = [f"data: {json.dumps(payload)}\n\n" for payload in payloads]
    return "".join([*lines, "data: [DONE]\n\n"] if done else lines).encode()


def chunk(content=None, *, finish=None, usage=None, choices=True, inside=None):
    choice = {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}
    if inside:
        choice["usage"] = inside
    told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "penny"}
    told["choices"] = [choice] if choices else []
    return {**told, "usage": usage} if usage else told


def usage(output=ANSWER):
    return {"prompt_tokens": PROMPT, "completion_tokens": output, "total_tokens": PROMPT + output}


WHERE = {
    "in a last chunk of its own": [chunk("hi"), chunk(finish="stop"), chunk(usage=usage(), choices=False)],
    "with the finish": [chunk("hi"), chunk(finish="stop", usage=usage())],
    "after the finish, with choices": [chunk("hi"), chunk(finish="stop"), chunk(usage=usage())],
    "inside the choice": [chunk("hi"), chunk(finish="stop", inside=usage())],
    "on every chunk but the last": [chunk("hi", usage=usage(1)), chunk("ho", usage=usage()), chunk(finish="stop")],
    "cumulative": [chunk("hi", usage=usage(1)), chunk("ho", usage=usage()), chunk(finish="stop", usage=usage())],
}  # fmt: skip


def client_of(body, **response):
    def answer(_request):
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, **(response or {"content": body}))

    transport = httpx.MockTransport(answer)
    return openai.OpenAI(
        base_url="http://penny/v1",
        api_key="k",
        max_retries=0,
        http_client=httpx.Client(transport=transport),
    )


class Pieces(httpx.SyncByteStream):
    """A body that comes in pieces, and may break off."""

    def __init__(self, pieces, breaks):
        self._pieces, self._breaks = pieces, breaks

    def __iter__(self):
        yield from self._pieces
        if self._breaks:
            raise httpx.ReadError("gone")


def chat(client):
    return client.chat.completions.create(model="penny", messages=SAY, stream=True)


@pytest.mark.usefixtures("penny")
class TestUsage:
    @pytest.mark.parametrize("where", WHERE)
    @pytest.mark.parametrize("done", [True, False])
    @pytest.mark.parametrize("read", [True, False], ids=["read before", "as it comes"])
    def test_is_found_wherever_it_is_told(self, where, done, read):
        body = events(*WHERE[where], done=done)
        response = {} if read else {"stream": Pieces([body], breaks=False)}
        with AgentBudget("$1").session() as session:
            shown = list(chat(wrap_client(client_of(body, **response), session)))
        assert session.spent_nanos == ANSWER * PENNY
        assert len(shown) == len(WHERE[where]) - (where == "in a last chunk of its own")


def ask(kind, client):
    if kind == "messages":
        return client.messages.create(
            model="claude-haiku-4-5", messages=SAY, max_tokens=500, stream=True
        )
    if kind == "responses":
        return client.responses.create(model="gpt-4o-mini", input="hi", stream=True)
    return client.chat.completions.create(model="gpt-4o-mini", messages=SAY, stream=True)


def at_the_end(event):
    choices = getattr(event, "choices", None)
    return (choices and choices[0].finish_reason) or getattr(event, "type", "") in (
        "response.output_text.done",
        "content_block_stop",
    )


KINDS = ["chat", "responses", "messages"]


def made(kind, provider, *, asynchronous=False, **options):
    of, url = (anthropic, provider.anthropic_url) if kind == "messages" else (openai, provider.openai_url)  # fmt: skip
    names = {openai: ("OpenAI", "AsyncOpenAI"), anthropic: ("Anthropic", "AsyncAnthropic")}
    return getattr(of, names[of][asynchronous])(
        base_url=url, api_key="test", max_retries=0, **options
    )


@pytest.mark.parametrize("kind", KINDS)
class TestLeavingAtTheEnd:
    """The answer is whole, and its usage comes next."""

    @pytest.mark.parametrize("closes", [True, False])
    def test_is_charged_exactly(self, provider, claiming, kind, closes):
        with claiming() as session, made(kind, provider) as client:
            stream = ask(kind, client)
            for event in stream:
                if at_the_end(event):
                    break
            if closes:
                stream.close()
            del stream
            assert session.spent_nanos == provider.bill_nanos > 0

    async def test_so_it_is_for_tasks(self, provider, claiming, kind):
        with claiming() as session:
            async with made(kind, provider, asynchronous=True) as client:
                stream = await ask(kind, client)
                async for event in stream:
                    if at_the_end(event):
                        break
                await stream.close()
            assert session.spent_nanos == provider.bill_nanos > 0

    def test_a_usage_that_never_comes_is_not_waited_for(self, provider, claiming, kind):
        provider.script(Reply("silent", usage=False))
        with claiming(exact=False) as session, made(kind, provider) as client:
            stream = ask(kind, client)
            for event in stream:
                if at_the_end(event):
                    break
            stream.close()
            assert session.reserved == 0

    def test_a_body_that_a_hook_has_read_is_charged_exactly(self, provider, claiming, kind):
        with made(kind, provider) as client:
            classes = type(client._client).__mro__
        of_httpx = next(each for each in classes if each.__module__.startswith("httpx"))
        http = of_httpx(event_hooks={"response": [lambda response: response.read()]})
        with claiming() as session, made(kind, provider, http_client=http) as client:
            shown = list(ask(kind, client))
            assert all(getattr(each, "choices", True) for each in shown)
            assert session.spent_nanos == provider.bill_nanos > 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_event_loop_after_another_with_one_client(provider, claiming):
    def ask_in_loops():
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test", max_retries=2)

        async def answer():
            await client.chat.completions.create(model="gpt-4o", messages=SAY)

        for _ in range(5):
            with contextlib.suppress(RuntimeError):  # without a further try, in older versions
                asyncio.run(answer())

    with claiming("$1", exact=False) as session:
        ask_in_loops()
        assert session.spent < 0.1
    gc.collect()  # the connections of the loops before


ANSWERED = [chunk(word) for word in ("Salt ", "comes ", "from ", "rivers, ", "Ω and 水.")]
WHOLE = events(*ANSWERED, chunk(finish="stop"), chunk(usage=usage(40), choices=False))
TOLD = WHOLE.index(b"\n\n", WHOLE.index(b'"completion_tokens"')) + 2
"""So much has to arrive for the usage to be known."""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, len(WHOLE)), max_size=12),
    end=st.integers(0, len(WHOLE)),
    leave=st.none() | st.integers(0, 6),
)
@pytest.mark.usefixtures("penny")
def test_however_a_stream_is_cut_and_left_no_less_is_charged_than_was_billed(cuts, end, leave):
    at = [0, *sorted(cut for cut in cuts if cut < end), end]
    pieces = [WHOLE[a:b] for a, b in pairwise(at)]
    client = client_of(None, stream=Pieces(pieces, breaks=end < len(WHOLE)))
    read = 0
    with AgentBudget("$1").session() as session:
        try:
            with chat(wrap_client(client, session)) as stream:
                for read, _ in enumerate(stream, 1):
                    if read == leave:
                        break
        except (openai.APIError, httpx.HTTPError):
            pass
        hold = 1_000_000_000 // 2
        assert session.reserved == 0
    seen = sum(len(each["choices"][0]["delta"]["content"].encode()) for each in ANSWERED[:read])
    told = end >= TOLD and (leave is None or leave > len(ANSWERED))
    if told:
        assert session.spent_nanos == 40 * PENNY
        return
    truth = min(read, len(ANSWERED)) * PENNY
    margin = max(LEAST_ON_THE_WAY, pace_of(len(ANSWERED), 0) * ON_THE_WAY, 3 * 250)
    assert truth <= session.spent_nanos <= hold
    total = sum(len(each["choices"][0]["delta"]["content"].encode()) for each in ANSWERED)
    assert session.spent_nanos <= (max(seen, total) + margin) * PENNY


@given(
    st.integers(0, 10**6), st.floats(0, 10**4), st.floats(0, 10**4), st.booleans(), st.integers(0, 99)
)  # fmt: skip
def test_more_bytes_and_more_time_are_never_less(seen, pace, seconds, hidden, more):
    least = written(seen, pace, seconds, hidden=hidden)
    assert least >= seen
    assert written(seen + more, pace, seconds + more, hidden=hidden) >= least if seen else True


def test_what_was_told_of_the_input_is_charged(provider, claiming):
    """Anthropic tells it at the start."""
    provider.script(Reply(usage=Usage(input=7, output=900), chunk_delay=0.001))
    with claiming(exact=False) as session, made("messages", provider) as client:
        stream = ask("messages", client)
        next(iter(stream))
        stream.close()
    assert session.spent < 0.005


def test_a_last_event_without_usage_is_charged_as_held(provider, claiming):
    provider.script(Reply("silent", usage=False))
    with claiming(exact=False) as session, made("responses", provider) as client:
        stream = ask("responses", client)
        held = session.balance().reserved.usd
        for event in stream:
            if event.type == "response.completed":
                break
        stream.close()
        assert session.spent_nanos == held
