import anthropic
import pytest
from langchain_anthropic import ChatAnthropic

from budget_core.testing import Reply, ToolCall

HELLO = [{"role": "user", "content": "Hello there"}]
INPUT = 7


def ask(claude, **options):
    return claude.messages.create(
        **{"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": HELLO, **options}
    )


def test_a_plain_answer_and_its_bill(claude, provider):
    provider.script(Reply("Good day"))
    answer = ask(claude, system="Be brief")
    assert answer.content[0].text == "Good day"
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (INPUT + 6, 2)
    assert answer.usage.service_tier == "standard"
    assert provider.bill_nanos == 13 * 3000 + 2 * 15000


def test_input_tokens_exclude_the_cache(claude, provider):
    provider.script(
        Reply("x", input_tokens=1000, cached_tokens=300, cache_write_tokens=200, output_tokens=10)
    )
    usage = ask(claude).usage
    assert usage.input_tokens == 500
    assert usage.cache_read_input_tokens == 300
    assert usage.cache_creation_input_tokens == 200
    assert provider.bill_nanos == 500 * 3000 + 300 * 300 + 200 * 3750 + 10 * 15000
    assert provider.bills[0].input_tokens == 1000
    assert provider.bills[0].cache_write_tokens == 200


def test_the_cap_and_tools(claude, provider):
    call = ToolCall("search", {"q": "x"})
    provider.script(Reply("abcd" * 9), Reply("hm", tool_calls=[call]))
    cut = ask(claude, max_tokens=2)
    assert (cut.content[0].text, cut.stop_reason) == ("abcdabcd", "max_tokens")
    answer = ask(claude, tools=[{"name": "search", "input_schema": {"type": "object"}}])
    assert [block.type for block in answer.content] == ["text", "tool_use"]
    assert answer.content[1].input == {"q": "x"}
    assert answer.stop_reason == "tool_use"
    assert provider.bills[0].output_cap == 2


def test_arguments_cut_by_the_cap_are_no_input(claude, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]))
    assert ask(claude, max_tokens=2).content[0].input == {}


def test_the_events_of_a_stream(claude, provider):
    calls = [ToolCall("search", {"q": "x"})]
    provider.script(Reply("abcdef", tool_calls=calls, cached_tokens=3))
    events = list(ask(claude, stream=True))
    assert [event.type for event in events if event.type != "ping"] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, end = events[0].message.usage, events[-2]
    assert (start.input_tokens, start.cache_read_input_tokens) == (INPUT - 3, 3)
    assert end.usage.output_tokens == provider.bills[0].output_tokens == 6
    assert end.delta.stop_reason == "tool_use"


def test_the_stream_helper_of_the_sdk(claude, provider):
    provider.script(Reply("abcdef", tool_calls=[ToolCall("search", {"q": "x"})]))
    with claude.messages.stream(model="claude-opus-4-6", max_tokens=50, messages=HELLO) as events:
        message = events.get_final_message()
    assert message.content[0].text == "abcdef"
    assert message.content[1].input == {"q": "x"}
    assert message.usage.output_tokens == 6


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_may_be_withheld(http, provider, streamed):
    provider.script(Reply("abcd", usage=False))
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": HELLO, "stream": streamed}
    assert '"usage"' not in http.post("/v1/messages", json=body).text
    assert provider.bill_nanos == INPUT * 1000 + 5000


def test_errors_have_the_shape_of_the_api(claude, provider):
    provider.script(Reply("slow down", status=429), Reply(status=529))
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(claude)
    assert limited.value.body["error"] == {"type": "rate_limit_error", "message": "slow down"}
    with pytest.raises(anthropic.InternalServerError) as overloaded:
        ask(claude)
    assert overloaded.value.body["error"]["type"] == "overloaded_error"
    with pytest.raises(anthropic.NotFoundError):
        ask(claude, model="claude-none")
    assert provider.bill_nanos == 0


def test_max_tokens_is_required(http, provider):
    answer = http.post("/v1/messages", json={"model": "claude-haiku-4-5", "messages": HELLO})
    assert answer.status_code == 400
    assert "max_tokens" in answer.json()["error"]["message"]


async def test_langchain_async(provider):
    model = ChatAnthropic(
        model="claude-sonnet-4-6", base_url=provider.anthropic_url, api_key="test", max_tokens=64
    )
    provider.default = Reply("abcdefgh", cached_tokens=2)
    whole = await model.ainvoke("Hello")
    parts = None
    async for chunk in model.astream("Hello"):
        parts = chunk if parts is None else parts + chunk
    for message in (whole, parts):
        assert message.text == "abcdefgh"
        assert message.usage_metadata["output_tokens"] == 2
        assert message.usage_metadata["input_tokens"] == provider.bills[0].input_tokens
        assert message.usage_metadata["input_token_details"]["cache_read"] == 2


def test_the_beta_resource_streams(claude, provider):
    provider.script(Reply("abcdefgh"))
    events = claude.beta.messages.create(
        model="claude-sonnet-4-6", max_tokens=50, messages=HELLO, stream=True
    )
    kinds = [event.type for event in events]
    assert kinds.count("content_block_delta") == 2
    assert kinds[-1] == "message_stop"
    assert provider.bill_nanos == INPUT * 3000 + 2 * 15000
