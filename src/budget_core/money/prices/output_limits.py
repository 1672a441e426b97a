"""What a model may write at most, from a table shipped with the package (see data/NOTICE)."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

from budget_core.money.prices import registry
from budget_core.money.prices.names import candidates

DEFAULT_MAX_OUTPUT: Final = 131_072
"""Assumed of a model that the table does not list: as much as the largest common maximum."""

_MOST_CACHED: Final = 10_000


class _Table(NamedTuple):
    limits: dict[str, int]
    reasoning: frozenset[str]


def known_max_output(model: str) -> int | None:
    """Return the most tokens that one answer of `model` can have, reasoning included.

    What the user registered comes first, then the table, found by the same names as a price is;
    None of a model that neither knows.
    """
    one = registry.find(model)
    if one is not None and one.max_output is not None:
        return one.max_output
    return _listed(model)


@lru_cache(_MOST_CACHED)
def is_reasoning(model: str) -> bool:
    """Return whether `model` can think before it answers, which hides output and makes it longer.

    True also where reasoning is opt-in or adjustable (Claude, gemini-2.5): whether it was asked
    for is the request's affair, and an answer cut short in its thoughts is of no use.
    """
    reasoning = _table().reasoning
    return any(form in reasoning for form in candidates(model))


@cache
def _table() -> _Table:
    text = (
        files("budget_core.money.prices")
        .joinpath("data/max_output_tokens.json")
        .read_text(encoding="utf-8")
    )
    data = json.loads(text)
    return _Table(data["max_output_tokens"], frozenset(data["reasoning"]))


@lru_cache(_MOST_CACHED)
def _listed(model: str) -> int | None:
    limits = _table().limits
    return next((limits[form] for form in candidates(model) if form in limits), None)
