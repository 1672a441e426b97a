import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core.testing import tokens

texts = st.text(max_size=40) | st.text('a"\\é日🙂\ud800', max_size=40)


@given(texts)
def test_a_text_never_has_more_tokens_than_bytes(text):
    assert tokens.count(text) <= len(text.encode("utf-8", "surrogatepass"))


@given(texts)
def test_tokens_joined_are_the_text(text):
    found = tokens.pieces(text)
    assert "".join(found) == text
    assert all(found)
    assert len(found) == tokens.count(text)


@given(texts, texts)
def test_appending_keeps_the_first_tokens(first, more):
    before = tokens.pieces(first)
    after = tokens.pieces(first + more)
    assert after[: len(before[:-1])] == before[:-1]
    assert tokens.count(first + more) >= tokens.count(first)


messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]), "content": st.none() | texts},
    optional={
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"id": st.text(), "function": st.fixed_dictionaries({"arguments": st.text()})}
            )
        ),
        "numbers": st.lists(st.integers() | st.booleans()),
    },
)


@given(st.lists(messages))
def test_input_stays_below_the_bytes_of_the_body(given_messages):
    body = json.dumps(given_messages, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert tokens.count_messages(given_messages) < len(body) + 1024


@given(st.lists(messages), st.lists(messages, min_size=1))
def test_appended_messages_add_at_most_their_bytes(first, more):
    added = tokens.count_messages(first + more) - tokens.count_messages(first)
    assert 0 < added <= len(json.dumps(more, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("abcd", 1), ("abcde", 2), ("héé", 2), ("日本", 2), ("🙂🙂", 2)]
)
def test_count(text, expected):
    assert tokens.count(text) == expected


def test_inline_media_is_bounded_by_its_data_and_by_a_constant():
    small = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    large = {"type": "image", "source": {"type": "base64", "data": "A" * 9000}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    stored = {"type": "input_file", "file_id": "file-1", "detail": None}
    assert tokens.count_value(small) == len("data:image/png;base64,AAAA")
    assert tokens.count_value(large) == tokens.MEDIA_TOKENS
    assert tokens.count_value(linked) == tokens.MEDIA_TOKENS
    assert tokens.count_value(stored) == len("input_file")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", [1]),
        ("abcdefgh", [2]),
        (["abcd", ""], [1, 1]),
        ([5, 6, 7], [3]),
        ([[1], [2, 3]], [1, 2]),
    ],
)
def test_prompts(prompt, expected):
    assert tokens.count_prompts(prompt) == expected


def test_no_schema_is_free():
    assert tokens.count_schema(None) == 0
    assert tokens.count_schema([{"a": 1}]) == tokens.count('[{"a":1}]')
