import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core.money.prices.names import candidates, canonical, prefixes, undated, unversioned


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" GPT-4o ", "gpt-4o"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("claude-3.5-sonnet", "claude-sonnet-3-5"),
        ("claude-3-5-sonnet-20241022", "claude-sonnet-3-5-20241022"),
        ("claude-4-opus", "claude-opus-4"),
        ("anthropic/claude-3-haiku", "anthropic/claude-haiku-3"),
        ("gpt-4.1", "gpt-4.1"),
    ],
)
def test_canonical(name, expected):
    assert canonical(name) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gpt-4o-2025-06-15", "gpt-4o"),
        ("gpt-5.2-20251211", "gpt-5.2"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("gpt-4-0613", "gpt-4"),
        ("gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("mistral-large-2402", "mistral-large-2402"),  # a year and a month: another price
        ("gpt-4o-2025-13-40", "gpt-4o-2025-13-40"),
        ("gpt-4-0125-preview", "gpt-4-0125-preview"),
        ("gpt-4-32k", "gpt-4-32k"),
    ],
)
def test_undated(name, base):
    assert undated(name) == base


def test_candidates_go_from_exact_to_stripped():
    assert list(candidates("OpenAI/gpt-4o-2025-06-15")) == [
        "openai/gpt-4o-2025-06-15",
        "openai/gpt-4o",
        "gpt-4o-2025-06-15",
        "gpt-4o",
    ]
    assert list(candidates("gemini-3-pro")) == ["gemini-3-pro", "gemini-3-pro-preview"]


def test_candidates_of_a_fine_tuned_model_are_fine_tuned():
    found = list(candidates("ft:gpt-4o-2024-08-06:org::id"))
    assert found[-1] == "ft:gpt-4o"
    assert all(name.startswith("ft:") for name in found)


def test_candidates_on_bedrock():
    found = list(candidates("us.anthropic.claude-sonnet-4-5-20250929-v1:0"))
    assert "regional.anthropic.claude-sonnet-4-5-20250929" in found
    assert not any(name.startswith("global.") for name in found)
    assert found[-1] == "claude-sonnet-4-5"
    assert "global.openai.gpt-6-sol" in candidates("global.openai.gpt-6-sol-v1:0")


def test_prefixes():
    assert list(prefixes("openrouter/OpenAI/gpt-4o")) == [
        ("openrouter", "openai/gpt-4o"),
        ("openai", "gpt-4o"),
    ]
    assert list(prefixes("eu.meta.llama3-v1:0")) == [("bedrock", "eu.meta.llama3-v1:0")]
    assert list(prefixes("gpt-4o")) == []


def test_unversioned():
    assert unversioned("meta.llama3-8b-v1:0") == "meta.llama3-8b"
    assert unversioned("openai.gpt-oss-20b-1:0") == "openai.gpt-oss-20b-1"


@given(st.text())
def test_candidates_are_distinct_and_begin_with_the_name(name):
    found = list(candidates(name))
    assert found[0] == canonical(name)
    assert len(found) == len(set(found))
