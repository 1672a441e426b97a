"""Which calls are the same, as the loop detector sees it."""

import pytest

from budget_core.frameworks import message_fingerprint, tool_fingerprint

QUESTION = {"role": "user", "content": "Why?"}
OPENAI = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "function": {"name": "search", "arguments": "{}"}}],
}
LANGCHAIN = {"role": "ai", "content": "", "tool_calls": [{"id": "1", "name": "search", "args": {}}]}
AUTOGEN = {
    "type": "AssistantMessage",
    "content": [{"id": "1", "name": "search", "arguments": "{}"}],
    "source": "worker",
}
GEMINI = {"role": "model", "content": [{"type": "text", "text": "So.", "id": "1"}]}

RESPONSES = {
    "type": "function_call",
    "call_id": "1",
    "id": "1",
    "name": "search",
    "arguments": "{}",
}
PYDANTIC_AI = {"kind": "response", "parts": [{"part_kind": "text", "content": "So.", "id": "1"}]}


def with_id(value, new):
    if isinstance(value, dict):
        return {
            key: new if key in ("id", "call_id") else with_id(item, new)
            for key, item in value.items()
        }
    return [with_id(item, new) for item in value] if isinstance(value, list) else value


def found(tool_call_id, content="salt"):
    return {"role": "tool", "tool_call_id": tool_call_id, "content": content}


@pytest.mark.parametrize("answer", [OPENAI, LANGCHAIN, AUTOGEN, GEMINI, RESPONSES, PYDANTIC_AI])
def test_a_loop_shows_in_the_end_of_a_history_that_grows(answer):
    one = message_fingerprint("m", [QUESTION, answer, found("1")])
    other = with_id(answer, "2")
    assert message_fingerprint("m", [QUESTION, answer, found("1"), other, found("2")]) == one
    assert message_fingerprint("m", [QUESTION, other, found("2", "sea")]) != one
    assert message_fingerprint("n", [QUESTION, answer, found("1")]) != one


def test_without_an_answer_all_of_it_counts():
    one = message_fingerprint("m", ["Why?", QUESTION])
    assert message_fingerprint("m", ["Who?", QUESTION]) != one
    assert message_fingerprint("m", []) == ("m",)


def test_a_message_that_changes_later_does_not_change_what_was_seen():
    message = {"role": "user", "content": [{"text": "Why?"}]}
    one = message_fingerprint("m", [message])
    message["content"][0]["text"] = "Who?"
    assert message_fingerprint("m", [message]) != one


def test_arguments_are_the_same_in_any_order_and_form():
    one = tool_fingerprint("search", {"a": 1, "b": [2]})
    assert one == tool_fingerprint("search", '{"b": [2],  "a": 1}')
    assert one != tool_fingerprint("search", {"a": 1, "b": [3]})
    assert one != tool_fingerprint("find", {"a": 1, "b": [2]})


def test_arguments_that_are_no_json_are_told_apart():
    assert tool_fingerprint("search", "{") == ("search", "{")
    assert tool_fingerprint("search", {(1, 2): 3}) != tool_fingerprint("search", {(1, 2): 4})
