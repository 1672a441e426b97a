"""Run where `bpe-openai` is installed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core import AgentBudget, hooks
from budget_core.calls.prompt import UNSEEN_TOKENS, Prompt, measure
from budget_core.calls.request import CallRequest
from budget_core.hooks import EstimateRequest

bpe_openai = pytest.importorskip("bpe_openai")

WORDS = "The quick brown fox jumps over the lazy dog. " * 200
ODD = st.sampled_from(["<|endoftext|>", "\ud800", "\x00" * 99, "漢字"])
TEXTS = st.text() | ODD | st.just("a").map(lambda letter: letter * 120_000)


def bound(messages, model="gpt-4o", provider="openai", context=None):
    return hooks.first("budget_estimate", EstimateRequest(model, provider, messages, context))


def tokens(text, vocabulary="o200k_base"):
    return len(bpe_openai.get_encoding(vocabulary).encode_ordinary(text))


def test_is_plugged_in():
    (found,) = [info for info in hooks.plugins() if info.name == "budget_core.calls.tokenizers"]
    assert found.hooks == ("budget_estimate",)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_covers_the_tokens_of_all_texts_together(texts):
    messages = [{"role": "user", "content": text} for text in texts]
    assert bound(messages) >= tokens("".join(texts)) + 4 * len(texts) + UNSEEN_TOKENS


def test_holds_a_fourth_of_what_bytes_would():
    messages = [{"role": "user", "content": WORDS}]
    request = CallRequest(
        model="gpt-4o-mini", provider="openai", prompt=Prompt(messages), output_cap=1
    )
    with AgentBudget("$1").session().open_call(request) as call:
        held = call.quote.input_tokens - UNSEEN_TOKENS
        call.release()
    assert tokens(WORDS) <= held < measure(messages).text / 4


def test_tools_are_counted_as_well():
    tools = [{"type": "function", "name": "search", "description": WORDS}]
    assert bound([], context=tools) - bound([]) >= tokens(WORDS)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-6", "gpt-5.9", "gpt-4o1", "mine"])
def test_says_nothing_of_models_whose_tokenizer_is_not_known(model):
    assert bound([{"role": "user", "content": WORDS}], model) is None


def test_says_nothing_of_what_others_serve_under_the_same_names():
    assert bound([{"role": "user", "content": WORDS}], provider=None) is None


@pytest.mark.parametrize("model", ["openai/gpt-4o-2024-08-06", "ft:gpt-4.1-mini:me::1", "gpt-4"])
def test_knows_models_by_their_other_names(model):
    assert bound([{"role": "user", "content": WORDS}], model) < len(WORDS) / 2


def test_leaves_to_the_core_what_has_no_bound():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert bound([{"role": "user", "content": [image]}]) is None
