"""Anthropic's models where other clouds sell them, and its count of tokens."""

import anthropic
import pytest

from budget_core.testing import Incoming, Reply

HELLO = [{"role": "user", "content": "Hello there"}]
INPUT = 7
BEDROCK = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
VERTEX = "claude-haiku-4-5@20251001"


@pytest.fixture
def bedrock(provider):
    with anthropic.AnthropicBedrock(
        api_key="secret", aws_region="us-east-1", base_url=provider.url, max_retries=0
    ) as made:
        yield made


@pytest.fixture
def vertex(provider):
    with anthropic.AnthropicVertex(
        access_token="secret",
        project_id="p",
        region="us-east1",
        base_url=f"{provider.url}/v1",
        max_retries=0,
    ) as made:
        yield made


def ask(client, model, **options):
    return client.messages.create(model=model, max_tokens=50, messages=HELLO, **options)


def test_bedrock_bills_the_model_in_the_path(bedrock, provider):
    provider.script(Reply("abcd"))
    assert ask(bedrock, BEDROCK).content[0].text == "abcd"
    bill = provider.bills[0]
    assert (bill.path, bill.model) == (f"/model/{BEDROCK}/invoke", BEDROCK)
    assert bill.nanos == INPUT * 1000 + 5000
    assert "secret" not in repr(bill.headers)


def test_bedrock_knows_no_stream_in_its_body(http, provider):
    body = {"max_tokens": 9, "messages": HELLO, "stream": True}
    answer = http.post(f"/model/{BEDROCK}/invoke", json=body)
    assert answer.json()["type"] == "message"
    assert not provider.bills[0].streamed


def test_streams_of_bedrock_are_not_spoken(bedrock, provider):
    with pytest.raises(anthropic.NotFoundError):
        ask(bedrock, BEDROCK, stream=True)
    assert provider.bill_nanos == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_vertex_bills_the_model_in_the_path(vertex, provider, streamed):
    provider.script(Reply("abcdefgh"))
    answer = ask(vertex, VERTEX, stream=streamed)
    if streamed:
        deltas = [event.delta for event in answer if event.type == "content_block_delta"]
        assert "".join(delta.text for delta in deltas) == "abcdefgh"
    else:
        assert answer.content[0].text == "abcdefgh"
    bill = provider.bills[0]
    assert (bill.model, bill.streamed, bill.output_cap) == (VERTEX, streamed, 50)
    assert bill.nanos == INPUT * 1000 + 2 * 5000


def test_the_path_says_whether_vertex_streams(http, provider):
    path = f"/v1/projects/p/locations/l/publishers/anthropic/models/{VERTEX}"
    body = {"max_tokens": 9, "messages": HELLO}
    assert "message_stop" in http.post(f"{path}:streamRawPredict", json=body).text
    whole = http.post(f"{path}:rawPredict", json={**body, "stream": True})
    assert whole.json()["type"] == "message"
    assert [bill.streamed for bill in provider.bills] == [True, False]


def test_counting_tokens_is_free(claude, vertex, provider):
    seen: list[Incoming] = []
    provider.respond(seen.append).script(Reply(input_tokens=500))

    def count(client, model):
        return client.messages.count_tokens(model=model, messages=HELLO, system="Be brief")

    assert count(claude, "claude-haiku-4-5").input_tokens == 500
    assert count(claude, "claude-haiku-4-5").input_tokens == INPUT + 6
    assert count(vertex, VERTEX).input_tokens == INPUT + 6
    assert {incoming.api for incoming in seen} == {"tokens"}
    assert [(bill.nanos, bill.input_tokens, bill.status) for bill in provider.bills] == [
        (0, 0, 200)
    ] * 3


def test_what_is_counted_equals_what_is_billed(claude, provider):
    tools = [{"name": "search", "input_schema": {"type": "object"}}]
    counted = claude.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO, tools=tools)
    ask(claude, "claude-haiku-4-5", tools=tools)
    assert counted.input_tokens == provider.bills[1].input_tokens > INPUT


def test_a_thinking_budget_may_be_counted_without_a_cap(claude):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    counted = claude.messages.count_tokens(
        model="claude-haiku-4-5", messages=HELLO, thinking=thinking
    )
    assert counted.input_tokens == INPUT


def test_what_cannot_be_counted_is_refused(claude, provider):
    provider.script(Reply("slow down", status=429))
    with pytest.raises(anthropic.RateLimitError, match="slow down"):
        claude.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model="claude-none", messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        claude.messages.count_tokens(model="claude-haiku-4-5", messages=[])
