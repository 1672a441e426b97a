import pytest

from budget_core.testing import Reply, ToolCall


def ask(client, **options):
    return client.responses.create(**{"model": "gpt-4.1", "input": "Hello there", **options})


def test_a_plain_answer_and_its_bill(client, provider):
    provider.script(Reply("Good day", cached_tokens=2, reasoning_tokens=3))
    answer = ask(client, instructions="Be brief")
    assert answer.output_text == "Good day"
    assert answer.status == "completed"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7 + 6, 5)
    assert answer.usage.input_tokens_details.cached_tokens == 2
    assert answer.usage.output_tokens_details.reasoning_tokens == 3
    assert provider.bill_nanos == 11 * 2000 + 2 * 500 + 5 * 8000


def test_the_cap_makes_it_incomplete(client, provider):
    provider.script(Reply("abcd" * 9))
    answer = ask(client, max_output_tokens=2)
    assert (answer.status, answer.output_text) == ("incomplete", "abcdabcd")
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert provider.bills[0].output_tokens == 2


def test_function_calls(client, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]))
    tool = {"type": "function", "name": "search", "parameters": {}, "strict": False}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "search", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "found"},
    ]
    seen = []
    provider.respond(seen.append)
    (call,) = ask(client, input=items, tools=[tool]).output
    assert (call.type, call.name, call.arguments) == ("function_call", "search", '{"q": "x"}')
    ask(client, input=items, tools=[tool])
    assert [message["role"] for message in seen[0].messages] == ["user", "assistant", "tool"]
    assert seen[0].last_text == "found"
    assert seen[0].tools == ("search",)


def test_the_events_of_a_stream(client, provider):
    provider.script(Reply("abcdef", tool_calls=[ToolCall("search", {}), ToolCall("add", {})]))
    events = list(ask(client, stream=True))
    call = [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        *call,
        *call,
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [e.output_index for e in events if e.type == "response.output_item.added"] == [0, 1, 2]
    assert events[0].response.usage is None
    final = events[-1].response
    assert final.output_text == "abcdef"
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    assert final.usage.output_tokens == 2 + 2 + 2 == provider.bills[0].output_tokens


def test_the_stream_helper_of_the_sdk(client, provider):
    provider.script(Reply("abcdefgh", tool_calls=[ToolCall("search", {"q": "x"})]))
    with client.responses.stream(model="o3", input="Hi") as events:
        final = events.get_final_response()
    assert final.output_text == "abcdefgh"
    assert final.output[1].arguments == '{"q": "x"}'


def test_the_cap_ends_a_stream(client, provider):
    provider.script(Reply("abcd" * 9))
    last = list(ask(client, stream=True, max_output_tokens=3))[-1]
    assert last.type == "response.incomplete"
    assert (last.response.status, last.response.output_text) == ("incomplete", "abcd" * 3)


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_may_be_withheld(client, provider, streamed):
    provider.script(Reply("abcd", usage=False))
    answer = ask(client, stream=streamed)
    final = list(answer)[-1].response if streamed else answer
    assert final.usage is None
    assert provider.bill_nanos == 7 * 2000 + 8000


def test_a_continued_conversation_is_billed_again(client, provider):
    first = ask(client)
    second = ask(client, previous_response_id=first.id)
    assert second.usage.input_tokens == 7 + first.usage.total_tokens
    assert ask(client, previous_response_id="resp_99").usage.input_tokens == 7
    assert ask(client, previous_response_id="other").usage.input_tokens == 7
