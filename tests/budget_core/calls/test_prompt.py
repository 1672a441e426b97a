import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from budget_core.calls.billed import BilledPrompts, Bound
from budget_core.calls.prompt import (
    IMAGE_TOKENS,
    UNSEEN_TOKENS,
    Prompt,
    measure,
    snapshot,
    unbounded_in,
)

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text(max_size=8) | st.sampled_from(["type", "image_url", "url", "source", "text", "data"])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def size_of(text):
    return len(text.encode(errors="replace"))


class Message(BaseModel):
    role: str = "user"
    content: str


class TestMeasure:
    @given(JSON)
    def test_no_text_is_left_out(self, value):
        """But for an image's data, which is sized by a constant far above what one may bill."""
        counted = sum(size_of(text) for text in texts(value) if not text.startswith("data:"))
        size = measure(value)
        assert size.tokens("") >= counted

    @given(st.lists(st.text(), max_size=5))
    def test_covers_the_bytes_of_the_json(self, words):
        wire = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
        raw = wire.encode(errors="replace")
        escapes = raw.count(b"\\") * 5
        assert measure(words).text >= len(raw) - escapes

    @pytest.mark.parametrize("value", ["é" * 100, "漢" * 100, "😀" * 100, "\ud800" * 100])
    def test_counts_bytes_and_not_characters(self, value):
        assert measure(value).text >= size_of(value)

    @pytest.mark.parametrize(
        "image",
        [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
        ],
    )
    def test_an_inline_image_is_a_constant(self, image):
        size = measure([image])
        assert size.images == 1
        assert size.tokens("gpt-4o") - size.text == IMAGE_TOKENS
        assert size.unbounded is None
        long = json.loads(json.dumps(image).replace("AAAA", "A" * 10_000))
        assert measure([long]) == size

    def test_a_large_image_is_covered_where_a_tile_has_thousands_of_tokens(self):
        """OpenAI bills gpt-4o-mini 2,833 tokens an image and 5,667 a tile, of which there are 8."""
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        assert measure([image]).tokens("openai/gpt-4o-mini-2024-07-18") >= 2_833 + 8 * 5_667

    @pytest.mark.parametrize(
        "image",
        [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image_url", "image_url": "https://example.com/a.png"},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "image", "url": "https://example.com/a.png"},
        ],
    )
    def test_an_image_by_url_has_no_bound(self, image):
        assert measure([{"content": [image]}]).unbounded == "an image by URL"

    @pytest.mark.parametrize(
        "block",
        [
            {"image_url": "data:,", "text": "x" * 50_000},
            {"image_url": {"url": "data:,", "alt": "x" * 50_000}},
            {"type": "image", "source": {"type": "base64", "data": ""}, "caption": "x" * 50_000},
            {"type": "image", "caption": "x" * 50_000},
            {"mimeType": "image/png", "data": "", "note": "x" * 50_000},
        ],
    )
    def test_what_stands_beside_an_image_is_text_like_any_other(self, block):
        assert measure(block).text >= 50_000

    @pytest.mark.parametrize("key", ["file_id", "file_url", "fileUri", "file_uri"])
    def test_a_file_by_reference_has_no_bound(self, key):
        assert key in measure([{"type": "input_file", key: "file-1"}]).unbounded
        assert measure([{"type": "input_file", key: ""}]).unbounded is None

    def test_a_tool_that_runs_at_the_provider_has_no_bound(self):
        assert "web_search_20250305" in measure({"tools": [{"type": "web_search_20250305"}]})[2]
        assert measure({"tools": [{"type": "function", "name": "web_search"}]}).unbounded is None
        result = {"type": "web_search_tool_result", "content": "found it"}
        assert measure([result]).unbounded is None

    @pytest.mark.parametrize(
        "tool",
        [
            {"type": "shell", "environment": {"type": "container_auto"}},
            {"type": "openrouter:web_search"},
            {"type": "browser_search"},
            {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"},
            {"type": "a_tool_of_next_year"},
        ],
    )
    def test_a_tool_that_is_not_known_to_run_at_the_client_has_none_either(self, tool):
        assert tool["type"] in measure({"tools": [tool]}).unbounded
        nested = {"type": "namespace", "name": "n", "tools": [tool]}
        assert tool["type"] in measure({"tools": [nested]}).unbounded

    @pytest.mark.parametrize(
        "tool",
        [
            {"name": "f", "input_schema": {"type": "object"}},
            {"type": "custom", "name": "f"},
            {"type": "computer_20250124", "name": "computer", "display_width_px": 1},
            {"type": "computer_use_preview"},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "shell"},
            {"type": "shell", "environment": {"type": "local"}},
        ],
    )
    def test_one_that_runs_at_the_client_has_one(self, tool):
        assert measure({"tools": [tool]}).unbounded is None

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            {"type": "document", "source": {"type": "file", "file": "f"}},
            {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
            {"type": "audio_url", "audio_url": "https://example.com/a.wav"},
            {"type": "file", "file": {"filename": "a", "file_data": "https://example.com/a.pdf"}},
            {"type": "document_url", "document_url": "https://example.com/a.pdf"},
            {"type": "video", "source": {"s3Location": {"uri": "s3://bucket/a.mp4"}}},
        ],
    )
    def test_media_that_the_provider_fetches_have_none(self, part):
        assert "media by URL" in measure([{"content": [part]}]).unbounded

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "document", "source": {"type": "text", "data": "see https://example.com"}},
            {"type": "file", "file": {"filename": "a", "file_data": "data:text/plain;base64,AA"}},
            {"type": "url_citation", "url_citation": {"url": "https://example.com/a"}},
            {"type": "search_result", "source": "https://example.com", "content": []},
            {"type": "tool_use", "input": {"type": "x", "video_url": "https://example.com"}},
        ],
    )
    def test_what_is_written_out_has_one(self, part):
        assert measure([{"content": [part]}]).unbounded is None

    def test_a_cache_write_for_an_hour_is_seen(self):
        assert measure([{"cache_control": {"type": "ephemeral", "ttl": "1h"}}]).one_hour
        assert not measure([{"cache_control": {"type": "ephemeral", "ttl": "5m"}}]).one_hour

    def test_models_are_measured_as_what_they_dump(self):
        assert measure(Message(content="x" * 99)) == measure({"role": "user", "content": "x" * 99})

    def test_a_model_class_is_measured_as_its_schema(self):
        assert measure(Message) == measure(Message.model_json_schema())

    def test_bytes_and_other_objects_are_measured_by_what_they_write(self):
        assert measure(b"x" * 99).text == 99
        assert measure(range(10**9)).text >= len("range(0, 1000000000)")
        assert measure({7: "x"}).text > measure("x").text
        assert measure(None).text >= 4


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"previous_response_id": "r"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "stored prompt"),
        ({"web_search_options": {"search_context_size": "low"}}, "web search"),
    ],
)
def test_what_is_kept_at_the_provider_is_named(body, what):
    assert what in unbounded_in(body)
    assert unbounded_in(dict.fromkeys(body)) is None


def test_a_plain_request_is_bounded():
    assert unbounded_in({"messages": [], "prompt": "Once upon a time"}) is None


def test_a_snapshot_shares_no_container():
    value = {"a": [{"b": (1, [2])}]}
    copy = snapshot(value)
    value["a"][0]["b"][1].append(3)
    value["a"].append(4)
    assert copy == {"a": [{"b": [1, [2]]}]}


def test_a_snapshot_of_a_model_does_not_change_with_it():
    message = Message(content="short")
    copy = snapshot([message])
    message.content = "long"
    assert copy == [{"role": "user", "content": "short"}]


def said(*texts, **context):
    return Prompt([{"role": "user", "content": text} for text in texts], context or None)


MESSAGES = st.lists(st.dictionaries(st.text(max_size=4), LEAVES, max_size=3), max_size=6)


class TestBilledPrompts:
    @given(MESSAGES, st.integers(1, 10**6))
    def test_a_repeated_prompt_is_exact(self, messages, tokens):
        billed = BilledPrompts()
        billed.remember("m", Prompt(messages), tokens)
        assert billed.bound("m", Prompt(snapshot(messages))).tokens == tokens

    @given(MESSAGES, MESSAGES.filter(bool))
    def test_an_extended_prompt_is_what_was_billed_and_the_bytes_of_what_was_added(self, old, new):
        billed = BilledPrompts()
        billed.remember("m", Prompt(old), 1_000)
        bound = billed.bound("m", Prompt(old + new))
        if measure(new).unbounded is None:
            assert bound.tokens >= 1_000 + sum(size_of(text) for text in texts(new))
        else:
            assert bound is None

    def test_another_model_or_message_is_not_known(self):
        billed = BilledPrompts()
        billed.remember("m", said("a", "b", tools=["t"]), 10)
        assert billed.bound("m", said("a", "b", tools=["t"])).tokens == 10
        assert billed.bound("other", said("a", "b", tools=["t"])) is None
        assert billed.bound("m", said("a", "B", tools=["t"])) is None
        assert billed.bound("m", said("b", "a", tools=["t"])) is None
        assert billed.bound("m", said("a", tools=["t"])) is None

    @pytest.mark.parametrize("tools", [["t", "u" * 2_000], []], ids=["more tools", "no tools"])
    def test_in_another_context_the_messages_are_known_and_the_rest_is_measured(self, tools):
        billed = BilledPrompts()
        billed.remember("m", said("a", "b" * 9_000, tools=["t"]), 4_000)
        bound = billed.bound("m", said("a", "b" * 9_000, "c", tools=tools))
        least = 4_000 + len("c") + sum(map(len, tools)) + UNSEEN_TOKENS
        assert least <= bound.tokens < least + 200

    def test_mutating_a_message_in_place_is_noticed(self):
        billed, prompt = BilledPrompts(), Prompt([{"content": ["a"]}], {"tools": [{"name": "t"}]})
        billed.remember("m", prompt, 10)
        prompt.messages[0]["content"].append("x" * 10_000)
        assert billed.bound("m", prompt) is None

    def test_mutating_the_context_in_place_is_noticed(self):
        billed, prompt = BilledPrompts(), Prompt([{"content": ["a"]}], {"tools": [{"name": "t"}]})
        billed.remember("m", prompt, 10)
        prompt.context["tools"][0]["description"] = "x" * 10_000
        assert billed.bound("m", prompt).tokens > 10_000

    def test_a_model_that_is_mutated_in_place_is_not_taken_for_the_old_one(self):
        billed, message = BilledPrompts(), Message(content="a")
        billed.remember("m", Prompt([message]), 10)
        message.content = "x" * 10_000
        assert billed.bound("m", Prompt([message])) is None

    def test_the_longest_known_beginning_counts(self):
        billed = BilledPrompts()
        billed.remember("m", said("a"), 10)
        billed.remember("m", said("x"), 99)
        billed.remember("m", said("a", "b"), 20)
        assert billed.bound("m", said("a", "b")).tokens == 20
        assert 20 < billed.bound("m", said("a", "b", "c")).tokens < 100

    def test_what_is_added_without_a_bound_is_not_known(self):
        billed = BilledPrompts()
        billed.remember("m", said("a"), 10)
        image = {"content": [{"image_url": {"url": "https://example.com/a.png"}}]}
        assert billed.bound("m", Prompt([*said("a").messages, image])) is None

    def test_a_cache_write_for_an_hour_that_is_added_is_seen(self):
        billed = BilledPrompts()
        billed.remember("m", said("a"), 10)
        added = {"content": "b", "cache_control": {"ttl": "1h"}}
        assert billed.bound("m", Prompt([*said("a").messages, added])).one_hour
        assert not billed.one_hour  # a question changes nothing

    def test_only_the_last_ones_are_kept(self):
        billed = BilledPrompts(keep=2)
        for text in "abc":
            billed.remember("m", said(text), 10)
        assert [billed.bound("m", said(text)) for text in "abc"] == [None, Bound(10), Bound(10)]

    def test_an_agents_loop_takes_one_place(self):
        billed = BilledPrompts(keep=2)
        billed.remember("m", said("other"), 5)
        for end in range(1, 20):
            billed.remember("m", said(*map(str, range(end))), end)
        assert billed.bound("m", said("other")).tokens == 5
        assert billed.bound("m", said(*map(str, range(19)))).tokens == 19
