import json

import pytest

from budget_cli.models import resolve
from budget_core import hookimpl, hooks, register_model
from budget_core.errors import UnknownModel
from budget_core.money.prices.rates import Rates


def test_the_whole_list(budget):
    shown = budget("models")
    assert shown.exit_code == 0
    assert "gpt-4o-mini" in shown.stdout
    assert "dollars per million" in shown.stdout


def test_the_whole_list_as_json(budget):
    data = json.loads(budget("models", "--json").stdout)
    found = [m for m in data["models"] if (m["name"], m["provider"]) == ("gpt-4o", "openai")]
    assert found == [
        {
            "name": "gpt-4o",
            "provider": "openai",
            "source": "genai-prices",
            "input_per_million": 2.5,
            "output_per_million": 10.0,
            "cache_read_per_million": 1.25,
            "cache_write_per_million": 2.5,
            "max_output_tokens": 16_384,
        }
    ]


@pytest.mark.parametrize(
    ("asked", "model", "provider"),
    [
        ("gpt-4o", "gpt-4o", "openai"),
        ("GPT-4o", "gpt-4o", "openai"),
        ("gpt-4o-2024-08-06", "gpt-4o", "openai"),
        ("openai/gpt-4o-mini", "gpt-4o-mini", "openai"),
        ("claude-3.5-sonnet-latest", "claude-3-5-sonnet", "anthropic"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", None, None),
    ],
)
def test_a_name_is_resolved_as_the_guard_resolves_it(asked, model, provider):
    found = resolve(asked)
    if model is not None:
        assert (found.model, found.provider) == (model, provider)
    assert found.rates.input > 0


def test_one_model(budget):
    shown = budget("models", "openai/gpt-4o-2024-08-06")
    assert shown.exit_code == 0
    for text in ("gpt-4o", "genai-prices", "$2.50", "$10.00", "16,384"):
        assert text in shown.stdout


def test_one_model_as_json(budget):
    data = json.loads(budget("models", "gpt-4o-2024-08-06", "--json").stdout)
    assert data["asked"] == "gpt-4o-2024-08-06"
    assert data["resolved"]["model"] == "gpt-4o"
    assert len(data["models"]) == 1


def test_long_context_steps_are_shown(budget):
    assert "above 200,000" in budget("models", "gemini-2.5-pro").stdout


def test_a_part_of_a_name_filters(budget):
    shown = budget("models", "4o-mini")
    assert shown.exit_code == 0
    assert "gpt-4o-mini" in shown.stdout
    assert "claude" not in shown.stdout
    assert "No model is called '4o-mini'" in shown.stdout
    assert json.loads(budget("models", "4o-mini", "--json").stdout)["resolved"] is None


@pytest.mark.parametrize("name", ["no-such-model", "  "])
def test_an_unknown_model_exits_with_1_and_the_line_to_write(budget, name):
    shown = budget("models", name)
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert "register_model(" in shown.stderr
    with pytest.raises(UnknownModel):
        resolve(name)


def test_registered_models_come_first_and_say_so(budget):
    register_model("my-model", 1, 2, max_output_tokens=512)
    shown = budget("models", "my-model-2025-01-01").stdout
    for text in ("my-model", "registered", "$1.00", "$2.00", "512"):
        assert text in shown
    assert json.loads(budget("models", "--json").stdout)["models"][0]["name"] == "my-model"


def test_a_plugin_is_asked_and_named(budget):
    class Plugin:
        @hookimpl
        def budget_price(self, request):
            return Rates.of(7, 8) if request.model == "house-model" else None

    plugin = Plugin()
    hooks.register(plugin)
    try:
        shown = budget("models", "house-model").stdout
    finally:
        hooks.unregister(plugin)
    assert "by a plugin" in shown
    assert "not listed" in shown
