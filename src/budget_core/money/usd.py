"""Money: an `int` count of nano-dollars ("nanos", 1e-9 USD).

Floats and Decimals live at the edges only: what a user writes comes in through
`parse_usd`, what a user reads goes out through `to_usd` and `format_usd`.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, TypeAlias

from budget_core.errors import AgentBudgetError, InvalidBudget, InvalidCost

NANOS_PER_USD: Final = 1_000_000_000
MAX_NANOS: Final = 2**53
"""The largest amount, about nine million dollars: exact in every backend, Lua doubles included."""

Money: TypeAlias = str | int | float | Decimal
"""What a user may write for an amount of dollars: ``"$5.00"``, ``"5"``, ``5``, ``5.0``, Decimal."""

_USD = re.compile(
    r"\$?\s*((?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d*)?|\.\d+)\s*(?:usd)?", re.IGNORECASE
)
_EXACT = Context(prec=100, traps=[])  # whatever the caller's own decimal context rounds to


def parse_usd(value: Money) -> int:
    """Read a budget in dollars as nanos, rounded down to a whole nano.

    >>> parse_usd("$5.00"), parse_usd("5"), parse_usd(0.1)
    (5000000000, 5000000000, 100000000)

    Raises:
        InvalidBudget: negative, NaN, infinite, a bool, empty, not dollars, or beyond `MAX_NANOS`.
    """
    return _parse(value, "budget", InvalidBudget, ROUND_FLOOR)


def parse_cost(value: Money) -> int:
    """Read a cost in dollars as nanos, rounded up to a whole nano: no cost is rounded away.

    Raises:
        InvalidCost: as `parse_usd` raises InvalidBudget.
    """
    try:
        return _known_cost(value)
    except TypeError:  # what cannot be hashed is no cost either
        return _parse(value, "cost", InvalidCost, ROUND_CEILING)


def to_usd(nanos: int) -> float:
    """Return nanos as dollars, for reports."""
    return nanos / NANOS_PER_USD


def format_usd(nanos: int) -> str:
    """Return nanos as people write dollars: cents at least, no more digits than needed.

    >>> format_usd(5_000_000_000), format_usd(1_250_000), format_usd(-20_000_000)
    ('$5.00', '$0.00125', '-$0.02')
    """
    sign = "-" if nanos < 0 else ""
    dollars, rest = divmod(abs(nanos), NANOS_PER_USD)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars:,}.{digits}"


@lru_cache(maxsize=1024, typed=True)  # tools cost the same again and again
def _known_cost(value: Money) -> int:
    return _parse(value, "cost", InvalidCost, ROUND_CEILING)


def _parse(value: Money, what: str, error: type[AgentBudgetError], rounding: str) -> int:
    amount = _decimal(value)
    if amount is None:
        raise error(
            f"{value!r} is not a {what}: write dollars as '$5.00', '5', 5, 5.0 or Decimal('5')."
        )
    if not amount.is_finite() or amount < 0:
        raise error(f"A {what} must be a finite amount of dollars, 0 or more; got {value!r}.")
    if amount > MAX_NANOS // NANOS_PER_USD:
        raise error(f"A {what} of {value!r} is beyond the largest amount, {format_usd(MAX_NANOS)}.")
    nanos = _EXACT.multiply(amount, Decimal(NANOS_PER_USD))
    return int(nanos.to_integral_value(rounding))


def _decimal(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case Decimal():
            return value
        case int():
            return Decimal(value) if abs(value) <= MAX_NANOS else Decimal("Infinity")
        case float():
            # repr gives the shortest decimal that reads back: 0.1 is a tenth, not its binary tail
            return Decimal(float.__repr__(value)) if math.isfinite(value) else Decimal("NaN")
        case str():
            return _decimal_from_text(value.strip())
        case _:
            return None


def _decimal_from_text(text: str) -> Decimal | None:
    if found := _USD.fullmatch(text):
        return Decimal(found[1].replace(",", "").replace("_", ""))
    try:
        return Decimal(text.removeprefix("$"))  # "1e-3"; "-5" and "nan", to be refused by value
    except InvalidOperation:
        return None
