# ruff: noqa: INP001
"""Rebuild the table of maximum outputs (money/prices/data) from LiteLLM's public model list.

    python scripts/update_model_limits.py model_prices_and_context_window.json [older lists …]

The list is in LiteLLM's repository (MIT, see NOTICE beside the table). Two facts are taken of each
chat model: the most tokens that it can write, and whether it can reason. Older lists fill in the
retired models that newer ones have dropped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from budget_core.money.prices.names import canonical, undated

TARGET = Path(__file__).parent.parent / "src/budget_core/money/prices/data/max_output_tokens.json"
MODES = {"chat", "responses", "completion"}
PROVIDERS = {
    "anthropic", "cerebras", "codestral", "cohere", "cohere_chat", "deepseek", "gemini", "groq",
    "meta_llama", "minimax", "mistral", "moonshot", "openai", "perplexity",
    "text-completion-openai", "vertex_ai-anthropic_models", "vertex_ai-language-models", "xai",
    "zai",
}  # fmt: skip
CORRECTIONS = {"gpt-4": 8192, "gpt-4-0314": 8192, "gpt-4-0613": 8192, "gpt-4-32k": 32768}
"""The list gives 4,096 for these, but prompt and answer share the whole context window."""


def main(*sources: str) -> None:
    """Read the lists at `sources`, the newest first, and write the table."""
    limits: dict[str, int] = {}
    reasoning: set[str] = set()
    for source in sources:
        listed = json.loads(Path(source).read_text(encoding="utf-8"))
        newer, reasoning_here = read(listed)
        limits = {**newer, **limits}
        reasoning |= reasoning_here
    table = {
        "max_output_tokens": without_variants({**limits, **CORRECTIONS}),
        "reasoning": sorted(set(map(undated, reasoning))),
    }
    TARGET.write_text(dump(table), encoding="utf-8")


def read(listed: dict[str, dict[str, Any]]) -> tuple[dict[str, int], set[str]]:
    """Return the largest maximum listed for each model, and the models that can reason."""
    limits: dict[str, int] = {}
    reasoning: set[str] = set()
    for key, facts in listed.items():
        if facts.get("litellm_provider") not in PROVIDERS or facts.get("mode") not in MODES:
            continue
        name = model_name(key)
        if most := facts.get("max_output_tokens"):
            limits[name] = max(limits.get(name, 0), int(most))
        if facts.get("supports_reasoning"):
            reasoning.add(name)
    return limits, reasoning


def model_name(key: str) -> str:
    """Return the model's own name: no provider prefix, no Vertex revision."""
    name = canonical(key)
    return name.rpartition("/")[2] if not name.startswith("ft:") else name


def without_variants(limits: dict[str, int]) -> dict[str, int]:
    """Give each model that is listed with dates only a base, and drop what its base says too."""
    full = dict(limits)
    for name in sorted(limits, key=lambda name: limits[name], reverse=True):
        full.setdefault(undated(name), limits[name])
    return {
        name: most
        for name, most in full.items()
        if undated(name) == name or full[undated(name)] != most
    }


def dump(table: dict[str, Any]) -> str:
    """Write one model a line, so that a change can be read as a diff."""
    return json.dumps(table, indent=0, sort_keys=True) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
