"""Streams that do not end as they should: nothing of them is free, and no hold is left behind."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading

import anthropic
import openai
import pytest

from budget_core import BudgetExhausted
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
LONG = Reply(output_tokens=2_000, chunk_delay=0.001)


def _chat(client):
    return client.chat.completions.create(
        model="gpt-4o", messages=SAY, max_tokens=3_000, stream=True
    )


def _response(client):
    return client.responses.create(model="gpt-4o", input=SAY, max_output_tokens=3_000, stream=True)


def _message(client):
    return client.messages.create(
        model="claude-sonnet-4-6", messages=SAY, max_tokens=3_000, stream=True
    )


STREAMS = {
    "chat": (openai.OpenAI, openai.AsyncOpenAI, _chat),
    "responses": (openai.OpenAI, openai.AsyncOpenAI, _response),
    "messages": (anthropic.Anthropic, anthropic.AsyncAnthropic, _message),
}


@pytest.fixture(params=STREAMS)
def kind(request):
    return request.param


def _url(provider, kind):
    return provider.anthropic_url if kind == "messages" else provider.openai_url


@pytest.fixture
def start(provider, kind):
    """Start a long answer."""
    made, _, way = STREAMS[kind]
    with made(base_url=_url(provider, kind), api_key="test", max_retries=0) as client:
        yield lambda: way(client)


@pytest.fixture
async def astart(provider, kind):
    _, made, way = STREAMS[kind]
    async with made(base_url=_url(provider, kind), api_key="test", max_retries=0) as client:
        yield lambda: way(client)


def _held(session):
    """What one long answer is held at: all that it may cost."""
    return session.balance().reserved.usd


def _charged_in_part(session, provider, held):
    """Return whether what can have been written was charged, and no whole hold."""
    provider.wait_idle()
    return provider.bill_nanos <= session.spent_nanos < held and not session.reserved


def _collect(session):
    """Collect garbage; while the provider's thread does, `gc.collect` does nothing."""
    for _ in range(500):
        gc.collect()
        if not session.reserved:
            return
        threading.Event().wait(0.01)  # lets the other thread finish


class TestNothingIsFree:
    def test_a_stream_that_is_read_whole_is_charged_exactly(self, start, claiming, provider):
        provider.script(Reply(output_tokens=50))
        with claiming() as session:
            assert list(start())
        assert session.spent_nanos > 0

    def test_a_connection_cut_at_chunk_three(self, start, claiming, provider):
        provider.script(Reply("one two three four five six", drop_after=3))
        with claiming(exact=False) as session:
            stream = start()
            held = _held(session)
            with pytest.raises(Exception):  # whatever its HTTP library makes of it
                list(stream)
        assert _charged_in_part(session, provider, held)

    def test_a_bare_break(self, start, claiming, provider):
        provider.script(LONG)
        with claiming(exact=False) as session:
            stream = start()
            held = _held(session)
            for _ in stream:
                break
            stream.response.close()
        assert _charged_in_part(session, provider, held)

    def test_close(self, start, claiming, provider):
        provider.script(LONG)
        with claiming(exact=False) as session:
            stream = start()
            held = _held(session)
            next(iter(stream))
            stream.close()
            assert _charged_in_part(session, provider, held)

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    @pytest.mark.parametrize("read", [0, 3])
    def test_del(self, start, claiming, provider, read):
        provider.script(LONG)
        with claiming(exact=False) as session:
            stream = start()
            held = _held(session)
            for _, _ in zip(range(read), stream, strict=False):
                pass
            del stream
            _collect(session)
            if read:  # its iterator closes it
                assert _charged_in_part(session, provider, held)
            else:
                assert session.spent_nanos == held

    def test_no_usage_at_the_end(self, start, claiming, provider):
        provider.script(Reply("silent", usage=False))
        with claiming(exact=False) as session:
            stream = start()
            held = _held(session)
            list(stream)
        assert session.spent_nanos == held

    async def test_a_cancelled_task(self, astart, claiming, provider):
        provider.script(LONG)
        reading = asyncio.Event()

        async def read():
            async for _ in await astart():
                reading.set()

        with claiming(exact=False) as session:
            task = asyncio.create_task(read())
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert session.reserved == 0
        assert session.spent_nanos > 0

    async def test_an_async_stream_that_is_closed(self, astart, claiming, provider):
        provider.script(LONG)
        with claiming(exact=False) as session:
            async with await astart() as stream:
                async for _ in stream:
                    break
            assert session.reserved == 0
        assert provider.bills[0].aborted

    async def test_an_async_connection_cut_at_chunk_three(self, astart, claiming, provider):
        provider.script(Reply("one two three four five six", drop_after=3))
        with claiming(exact=False) as session:
            stream = await astart()
            held = _held(session)
            with pytest.raises(Exception):  # as above
                async for _ in stream:
                    pass
        assert _charged_in_part(session, provider, held)

    def test_its_whole_hold_is_charged_on_demand(self, start, claiming, provider):
        provider.script(LONG)
        with claiming(exact=False, on_broken="hold") as session:
            stream = start()
            held = _held(session)
            next(iter(stream))
            stream.close()
        assert session.spent_nanos == held


class TestStoppedMidway:
    """A provider that writes on past the cap is cut off when the hold is spent."""

    def test_the_connection_closes(self, start, claiming, provider):
        provider.script(Reply(output_tokens=5_000, ignores_cap=True, chunk_delay=0.0005))
        with claiming("$0.02", exact=False), pytest.raises(BudgetExhausted, match="outgrew"):
            list(start())
        assert provider.bills[0].aborted

    def test_three_at_once_stay_within_the_budget(self, start, claiming, provider, kind):
        provider.respond(lambda _: Reply(output_tokens=100_000))
        ended = []

        def read():
            try:
                ended.append(list(start()) and "whole")
            except BudgetExhausted:
                ended.append("refused")

        with claiming("$0.06"):
            threads = [
                threading.Thread(target=contextvars.copy_context().run, args=(read,))
                for _ in range(3)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert "whole" in ended
        assert 30_000_000 < provider.bill_nanos <= 60_000_000


PROGRAM = """
import sys, openai, budget_core
from budget_core import AgentBudget, wrap_client

session = AgentBudget("$1").session()
client = wrap_client(openai.OpenAI(base_url=sys.argv[1], api_key="test"), session)
try:
    for chunk in client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True
    ):
        print("reading", flush=True)
except KeyboardInterrupt:
    pass
finally:
    session.close()
    print("spent", session.spent_nanos, session.reserved, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_a_sigint_in_the_middle_of_a_stream(provider, interruptible):
    provider.default = Reply(output_tokens=50_000, chunk_delay=0.002)
    program = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", textwrap.dedent(PROGRAM), provider.openai_url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout.readline() == "reading\n"
    program.send_signal(signal.SIGINT)
    last = program.communicate(timeout=30)[0].splitlines()[-1]
    provider.wait_idle()
    word, spent, reserved = last.split()
    assert (word, float(reserved)) == ("spent", 0)
    assert int(spent) >= provider.bill_nanos > 0
