import anthropic
import pytest
from langchain_anthropic import ChatAnthropic

from budget_core.testing import Reply, ToolCall

HELLO = [{"role": "user", "content": "Hello there"}]
INPUT = 7
THINKING = {"type": "enabled", "budget_tokens": 1024}


def ask(claude, **options):
    asked = {"model": "claude-sonnet-4-6", "max_tokens": 2000, "messages": HELLO}
    return claude.messages.create(**{**asked, "thinking": THINKING, **options})


@pytest.mark.parametrize("thinking", [THINKING, {"type": "adaptive"}])
def test_the_reasoning_is_a_block_and_output(claude, provider, thinking):
    provider.script(Reply("abcd", reasoning_tokens=3))
    answer = ask(claude, thinking=thinking)
    thought, text = answer.content
    assert (thought.type, thought.thinking) == ("thinking", "tok " * 3)
    assert thought.signature
    assert text.text == "abcd"
    assert answer.usage.output_tokens == 4
    assert answer.usage.output_tokens_details.thinking_tokens == 3
    assert provider.bill_nanos == INPUT * 3000 + 4 * 15000
    assert provider.bills[0].reasoning_tokens == 3


@pytest.mark.parametrize("options", [{}, {"thinking": {"type": "disabled"}}])
def test_nobody_sees_thoughts_that_were_not_asked_for(claude, provider, options):
    provider.script(Reply("abcd", reasoning_tokens=3))
    answer = claude.messages.create(
        model="claude-sonnet-4-6", max_tokens=50, messages=HELLO, **options
    )
    assert [block.type for block in answer.content] == ["text"]
    assert answer.usage.output_tokens == 4


def test_without_reasoning_there_is_no_block(claude, provider):
    provider.script(Reply("abcd"))
    assert [block.type for block in ask(claude).content] == ["text"]


def test_the_cap_may_leave_nothing_but_thoughts(claude, provider):
    provider.script(Reply("abcd", reasoning_tokens=9000))
    answer = ask(claude)
    assert [block.type for block in answer.content] == ["thinking"]
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2000)


def test_thoughts_are_streamed_before_the_text(claude, provider):
    calls = [ToolCall("search", {"q": "x"})]
    provider.script(Reply("abcd", reasoning_tokens=2, tool_calls=calls))
    events = list(ask(claude, stream=True))
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert [delta.type for delta in deltas] == [
        *["thinking_delta"] * 2,
        "signature_delta",
        "text_delta",
        *["input_json_delta"] * 3,
    ]
    opened = [e.content_block.type for e in events if e.type == "content_block_start"]
    assert opened == ["thinking", "text", "tool_use"]
    assert events[-2].usage.output_tokens == provider.bills[0].output_tokens == 7
    assert events[-2].usage.output_tokens_details.thinking_tokens == 2


def test_the_stream_helper_of_the_sdk(claude, provider):
    provider.script(Reply("abcd", reasoning_tokens=2))
    with claude.messages.stream(
        model="claude-sonnet-4-6", max_tokens=2000, messages=HELLO, thinking=THINKING
    ) as events:
        message = events.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "tok tok "
    assert message.content[0].signature
    assert message.usage.output_tokens == 3


@pytest.mark.parametrize(("after", "thought"), [(2, 2), (5, 4)])
def test_a_dropped_stream_owes_only_the_thoughts_that_were_written(
    claude, provider, after, thought
):
    provider.script(Reply("abcdefgh", reasoning_tokens=4, drop_after=after))
    with pytest.raises(Exception, match="incomplete chunked read"):
        list(ask(claude, stream=True))
    bill = provider.bills[0]
    assert (bill.output_tokens, bill.reasoning_tokens, bill.dropped) == (after, thought, True)
    assert bill.nanos == INPUT * 3000 + after * 15000


def test_a_dropped_stream_owes_hidden_thoughts_in_full(claude, provider):
    provider.script(Reply("abcdefgh", reasoning_tokens=4, drop_after=1))
    with pytest.raises(Exception, match="incomplete chunked read"):
        list(ask(claude, stream=True, thinking={"type": "disabled"}))
    assert provider.bills[0].output_tokens == 5


@pytest.mark.parametrize(
    ("thinking", "cap", "said"),
    [
        ({"type": "enabled", "budget_tokens": 1023}, 2000, "greater than or equal to 1024"),
        ({"type": "enabled"}, 2000, "greater than or equal to 1024"),
        ({"type": "enabled", "budget_tokens": "2000"}, 4000, "greater than or equal to 1024"),
        ({"type": "enabled", "budget_tokens": 2000}, 2000, "greater than `thinking.budget_tokens`"),
        ("enabled", 2000, "malformed"),
    ],
)
def test_thinking_needs_a_budget_below_the_cap(claude, provider, thinking, cap, said):
    provider.script(Reply("kept"))
    with pytest.raises(anthropic.BadRequestError, match=said):
        ask(claude, thinking=thinking, max_tokens=cap)
    assert (provider.bill_nanos, provider.bills[0].status) == (0, 400)
    smallest = {"type": "enabled", "budget_tokens": 1024}
    assert ask(claude, thinking=smallest, max_tokens=1025).content[0].text == "kept"


def test_langchain(provider):
    model = ChatAnthropic(
        model="claude-sonnet-4-6",
        base_url=provider.anthropic_url,
        api_key="test",
        max_tokens=2000,
        thinking=THINKING,
    )
    provider.default = Reply("abcd", reasoning_tokens=3)
    parts = None
    for chunk in model.stream("Hello"):
        parts = chunk if parts is None else parts + chunk
    for message in (model.invoke("Hello"), parts):
        assert message.text == "abcd"
        assert message.usage_metadata["output_tokens"] == 4
        assert message.content[0]["thinking"] == "tok tok tok "
