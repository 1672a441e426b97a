"""What a program does while a stream is open is money of its own."""

import gc
import threading

import anthropic
import openai
import pytest
from google import genai
from google.genai.types import HttpOptions

from budget_core import AgentBudget, BudgetExhausted, wrap_client
from budget_core.testing import Reply

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

SAY = [{"role": "user", "content": "Say hello."}]


def _openai(provider):
    return openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0)


def _anthropic(provider):
    return anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test", max_retries=0)


def _google(provider):
    return genai.Client(api_key="test", http_options=HttpOptions(base_url=provider.google_url))


def _chat(client, *, stream):
    return client.chat.completions.create(model="gpt-4o", messages=SAY, stream=stream)


def _message(client, *, stream):
    return client.messages.create(
        model="claude-sonnet-4-6", messages=SAY, max_tokens=900, stream=stream
    )


def _content(client, *, stream):
    models = client.models
    way = models.generate_content_stream if stream else models.generate_content
    return way(model="gemini-2.5-flash", contents="Say hello.")


KINDS = {
    "openai": (_openai, _chat),
    "anthropic": (_anthropic, _message),
    "google": (_google, _content),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def make(provider, kind):
    return lambda: KINDS[kind][0](provider)


@pytest.fixture
def ask(kind):
    return lambda client: KINDS[kind][1](client, stream=False)


@pytest.fixture
def start(kind):
    """Start a stream, and read the first of it."""

    def start(client):
        chunks = iter(KINDS[kind][1](client, stream=True))
        next(chunks)
        return chunks

    return start


def _collect(session):
    """Collect garbage; while the provider's thread does, `gc.collect` does nothing."""
    for _ in range(500):
        gc.collect()
        if not session.reserved:
            return
        threading.Event().wait(0.01)  # lets the other thread finish


def test_a_call_while_a_stream_is_read(provider, claiming, make, start, ask):
    provider.default = Reply(output_tokens=40)
    client = make()
    with claiming() as session:
        chunks = start(client)
        ask(client)
        ask(client)
        assert list(chunks)
    assert session.report()["breakdown"]["llm"]["calls"] == 3


def test_streams_left_open_do_not_widen_the_budget(provider, claiming, make, start, ask):
    provider.default = Reply(output_tokens=300)
    client, streams = make(), []
    with claiming("$0.02", exact=False, wait=0) as session:
        for _ in range(12):
            try:
                streams.append(start(client))
                ask(client)
            except BudgetExhausted:
                break
        assert streams
        streams.clear()
        _collect(session)
    assert provider.bill_nanos <= 20_000_000


def test_another_clients_calls_are_not_this_ones(provider, make, start, ask):
    provider.default = Reply(output_tokens=40)
    one, other = AgentBudget("$1").session(), AgentBudget("$1").session()
    streaming, asking, plain = wrap_client(make(), one), wrap_client(make(), other), make()
    chunks = start(streaming)
    ask(asking)
    ask(plain)
    (mine, theirs) = (provider.bills[1].nanos, provider.bills[2].nanos)
    assert other.spent_nanos == mine
    assert one.spent_nanos == 0
    assert list(chunks)
    provider.wait_idle()
    assert provider.bill_nanos == one.spent_nanos + other.spent_nanos + theirs


def test_nobody_waits_for_a_stream_of_his_own(provider, claiming, make, start, ask):
    """It could not end while he waits."""
    provider.default = Reply(output_tokens=40)
    client, ended = make(), threading.Event()

    def run():
        with claiming("$0.02", exact=False, wait=600) as session:
            streams = []
            try:
                for _ in range(50):
                    streams.append(start(client))
            except BudgetExhausted:
                ended.set()
            streams.clear()
            _collect(session)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert ended.is_set()
