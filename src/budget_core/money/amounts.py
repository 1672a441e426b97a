"""Amounts of the four units that are limited: dollars, tokens, LLM calls and tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from budget_core.money.usd import format_usd, to_usd

Unit: TypeAlias = Literal["usd", "tokens", "llm_calls", "tool_calls"]


UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
LABELS: Final[Mapping[Unit, str]] = {
    "tokens": "token",
    "llm_calls": "LLM call",
    "tool_calls": "tool call",
}
"""One of each unit but dollars, as messages call it."""


class Amounts(NamedTuple):
    """A vector over the four units; `usd` in nanos. Holds, charges and balances are Amounts."""

    usd: int = 0
    tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0


ZERO: Final = Amounts()


def readable(unit: Unit, amount: int) -> float:
    """Return an amount as reports give it: dollars for usd, a count for the others."""
    return to_usd(amount) if unit == "usd" else amount


def format_amount(unit: Unit, amount: int, labels: Mapping[Unit, str] = LABELS) -> str:
    """Return an amount as messages give it: ``"$0.02"``, ``"1,200 tokens"``, ``"3 LLM calls"``."""
    if unit == "usd":
        return format_usd(amount)
    return f"{amount:,} {labels[unit]}{'' if amount == 1 else 's'}"


def plus(a: Amounts, b: Amounts) -> Amounts:
    return tuple.__new__(Amounts, (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]))
