import runpy
from pathlib import Path

import pytest

from budget_core.calls.quote import quote
from budget_core.money.prices import registry
from budget_core.money.prices.lookup import forget, register_model
from budget_core.money.prices.output_limits import (
    DEFAULT_MAX_OUTPUT,
    is_reasoning,
    known_max_output,
)

ROOT = Path(__file__).parents[4]


def quoted(model):
    return quote(model, None, input_tokens=1, output_cap=None)


@pytest.fixture(autouse=True)
def _unregistered():
    yield
    registry.clear()
    forget()


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o", 16_384),
        ("GPT-4o-2025-06-15", 16_384),
        ("openai/gpt-4o", 16_384),
        ("gpt-4o-2024-05-13", 4_096),
        ("gpt-4", 8_192),
        ("gpt-5.2", 128_000),
        ("claude-sonnet-4.5", 64_000),
        ("claude-3-5-sonnet-20241022", 8_192),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("models/gemini-2.0-flash", 8_192),
    ],
)
def test_known(model, most):
    assert known_max_output(model) == quoted(model).most == most


@pytest.mark.parametrize("model", ["gpt-4o-ultra-exp", "no-such-model", ""])
def test_unknown_is_the_documented_constant(model):
    assert quoted(model).most == DEFAULT_MAX_OUTPUT == 131_072
    assert quoted(model).guessed
    assert known_max_output(model) is None


def test_registered_comes_first():
    register_model("gpt-4o", 1, 2, max_output_tokens=99)
    assert known_max_output("openai/gpt-4o-2025-06-15") == 99
    register_model("gpt-4o", 1, 2)
    assert known_max_output("gpt-4o") == 16_384


@pytest.mark.parametrize(
    "model",
    [
        "o1",
        "o3-mini",
        "o4-mini",
        "gpt-5",
        "gpt-5.2-2025-12-11",
        "claude-opus-4-6",
        "gemini-2.5-pro",
    ],
)
def test_reasoning(model):
    assert is_reasoning(model)


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1-mini", "claude-3-5-haiku", "gemini-1.5-pro", "no-such-model"]
)
def test_not_reasoning(model):
    assert not is_reasoning(model)


def test_the_table_can_be_rebuilt(tmp_path):
    script = runpy.run_path(str(ROOT / "scripts/update_model_limits.py"))
    newer = {
        "openai/gpt-x": {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_output_tokens": 8,
            "supports_reasoning": True,
        },
        "gpt-x-2026-01-01": {"litellm_provider": "openai", "mode": "chat", "max_output_tokens": 8},
        "claude-3-y@20250101": {
            "litellm_provider": "anthropic",
            "mode": "chat",
            "max_output_tokens": 5,
        },
        "azure/gpt-x": {"litellm_provider": "azure", "mode": "chat", "max_output_tokens": 99},
        "gpt-image": {
            "litellm_provider": "openai",
            "mode": "image_generation",
            "max_output_tokens": 99,
        },
    }
    limits, reasoning = script["read"](newer)
    assert script["without_variants"](limits) == {"gpt-x": 8, "claude-3-y": 5}
    assert reasoning == {"gpt-x"}


def test_the_notice_ships_with_the_table():
    notice = (ROOT / "src/budget_core/money/prices/data/NOTICE").read_text()
    assert "MIT License" in notice
