"""What the provider charges: its own list, kept apart from the prices that guards use.

Rates are dollars per million tokens; fees, for what is not sold by the token, are nano-dollars a
unit. A test that compares a guard's books with the provider's
bill compares two independent lists.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Price: TypeAlias = int | float | str | Decimal
"""Dollars per million tokens."""

BATCH = "batch"
"""The model of a batch, whatever models it names."""

BATCHES = {BATCH: 10_000_000}
"""A batch: one cent, now; its work is never done."""

IMAGES = {"dall-e-2": 20_000_000, "dall-e-3": 40_000_000}
"""An image, of any size."""

MODERATIONS = {"omni-moderation": 0, "text-moderation": 0}

SPEECH = {"tts-1": 15_000, "tts-1-hd": 30_000}
"""A character."""

TRANSCRIPTIONS = {"whisper-1": 6_000_000}
"""A recording, taken to last one minute."""

SEARCHES = {"claude": 10_000_000, "gpt": 10_000_000, "gemini-3": 14_000_000}
"""A web search, by the beginning of a model's name."""
GROUNDED = 35_000_000
"""A prompt that Gemini 2 answered by searches, however many."""

_DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{3}|latest|default)$")
_BEDROCK = re.compile(r"^([a-z]+\.)?anthropic\.(?P<model>.+?)(-v\d+(:\d+)?)?$")
_NANOS_PER_DOLLAR_MILLION = 1000


@dataclass(frozen=True, slots=True)
class Rates:
    """Exact nano-dollars for one token of each kind."""

    input: int | Fraction
    output: int | Fraction
    cache_read: int | Fraction
    cache_write: int | Fraction


def rates(
    input: Price,  # noqa: A002 - the word of every price list
    output: Price,
    cache_read: Price | None = None,
    cache_write: Price | None = None,
) -> Rates:
    """Return exact rates; without a cache price, cached tokens cost what input costs."""
    return Rates(
        _nanos(input),
        _nanos(output),
        _nanos(input if cache_read is None else cache_read),
        _nanos(input if cache_write is None else cache_write),
    )


def cost(
    price: Rates, *, input_tokens: int, cached_tokens: int, cache_write_tokens: int, output: int
) -> int:
    """Return the nano-dollars of one request, rounded up once to a whole one.

    ``input_tokens`` includes what was read from or written to the cache.
    """
    plain = input_tokens - cached_tokens - cache_write_tokens
    return math.ceil(
        plain * price.input
        + cached_tokens * price.cache_read
        + cache_write_tokens * price.cache_write
        + output * price.output
    )


def search_fee(listed: str, searches: int) -> int:
    """Return the nano-dollars of the searches for one answer."""
    unit = next((fee for name, fee in SEARCHES.items() if listed.startswith(name)), 0)
    return unit * searches if unit or not searches else GROUNDED


class Catalogue:
    """The models that a provider knows, and what they cost per service tier."""

    def __init__(self) -> None:
        self._own: dict[str, Rates] = {}

    def add(self, model: str, price: Rates) -> None:
        """Make a model known, or give a known one another price in every tier."""
        self._own[model] = price

    def models(self) -> list[str]:
        return sorted({*STANDARD, *self._own})

    def resolve(self, model: str, fees: Mapping[str, int] | None = None) -> str | None:
        """Return the listed name of a model, of its dated variant or its name in a cloud, or None.

        ``fees`` has more models that are known, though not sold by the token.
        """
        known = {*self._own, *STANDARD, *(fees or ())}
        return next((name for name in _names(model) if name in known), None)

    def rates(self, listed: str, tier: str, input_tokens: int = 0) -> Rates:
        """Return what a listed model costs in a tier; the standard rates if it has no such tier.

        A request whose input is long pays more for all of its tokens, with some models.
        """
        if listed in self._own:
            return self._own[listed]
        if input_tokens > LONG_INPUT and listed in LONG:
            return LONG[listed]
        return TIERS.get(tier, STANDARD).get(listed) or STANDARD[listed]

    def has_tier(self, listed: str, tier: str) -> bool:
        """Return whether a listed model has rates of its own in a tier."""
        return listed not in self._own and listed in TIERS.get(tier, {})


def _names(model: str) -> Iterator[str]:
    yield model
    yield _DATED.sub("", model)
    bedrock = _BEDROCK.match(model)
    if bedrock is not None:
        yield bedrock["model"]
        yield _DATED.sub("", bedrock["model"])


def _nanos(price: Price) -> int | Fraction:
    exact = Fraction(str(price)) * _NANOS_PER_DOLLAR_MILLION
    if exact < 0:
        raise ValueError(f"a price cannot be negative: {price}")
    return exact.numerator if exact.denominator == 1 else exact


def _claude(input: str, output: str, cache_read: str) -> Rates:  # noqa: A002
    return rates(input, output, cache_read, Decimal(input) * Decimal("1.25"))


STANDARD: dict[str, Rates] = {
    "claude-3-5-haiku": _claude("0.8", "4", "0.08"),
    "claude-haiku-4-5": _claude("1", "5", "0.1"),
    "claude-opus-4-1": _claude("15", "75", "1.5"),
    "claude-opus-4-5": _claude("5", "25", "0.5"),
    "claude-opus-4-6": _claude("5", "25", "0.5"),
    "claude-sonnet-4-5": _claude("3", "15", "0.3"),
    "claude-sonnet-4-6": _claude("3", "15", "0.3"),
    "gemini-2.0-flash": rates("0.1", "0.4", "0.025"),
    "gemini-2.5-flash": rates("0.3", "2.5", "0.03"),
    "gemini-2.5-pro": rates("1.25", "10", "0.125"),
    "gemini-embedding-001": rates("0.15", "0"),
    "gpt-3.5-turbo": rates("0.5", "1.5"),
    "gpt-3.5-turbo-0125": rates("0.5", "1.5"),
    "gpt-3.5-turbo-instruct": rates("1.5", "2"),
    "gpt-4": rates("30", "60"),
    "gpt-4-0613": rates("30", "60"),
    "gpt-4-turbo": rates("10", "30"),
    "gpt-4.1": rates("2", "8", "0.5"),
    "gpt-4.1-mini": rates("0.4", "1.6", "0.1"),
    "gpt-4.1-nano": rates("0.1", "0.4", "0.025"),
    "gpt-4o": rates("2.5", "10", "1.25"),
    "gpt-4o-2024-05-13": rates("5", "15"),
    "gpt-4o-mini": rates("0.15", "0.6", "0.075"),
    "gpt-5": rates("1.25", "10", "0.125"),
    "gpt-5-mini": rates("0.25", "2", "0.025"),
    "gpt-5-nano": rates("0.05", "0.4", "0.005"),
    "gpt-5-pro": rates("15", "120"),
    "gpt-5.1": rates("1.25", "10", "0.125"),
    "gpt-5.2": rates("1.75", "14", "0.175"),
    "gpt-5.2-pro": rates("21", "168"),
    "gpt-image-1": rates("5", "40", "1.25"),
    "o1": rates("15", "60", "7.5"),
    "o1-pro": rates("150", "600"),
    "o3": rates("2", "8", "0.5"),
    "o3-mini": rates("1.1", "4.4", "0.55"),
    "o3-pro": rates("20", "80"),
    "o4-mini": rates("1.1", "4.4", "0.275"),
    "text-embedding-3-large": rates("0.13", "0"),
    "text-embedding-3-small": rates("0.02", "0"),
    "text-embedding-ada-002": rates("0.1", "0"),
}

LONG_INPUT = 200_000

LONG: dict[str, Rates] = {
    "claude-sonnet-4-5": _claude("6", "22.5", "0.6"),
    "gemini-2.5-pro": rates("2.5", "15", "0.25"),
}
"""Rates of requests with more than ``LONG_INPUT`` tokens of input."""

TIERS: dict[str, dict[str, Rates]] = {
    "flex": {
        "gpt-5": rates("0.625", "5", "0.0625"),
        "gpt-5-mini": rates("0.125", "1", "0.0125"),
        "gpt-5-nano": rates("0.025", "0.2", "0.0025"),
        "gpt-5.1": rates("0.625", "5", "0.0625"),
        "gpt-5.2": rates("0.875", "7", "0.0875"),
        "o3": rates("1", "4", "0.25"),
        "o4-mini": rates("0.55", "2.2", "0.138"),
    },
    "priority": {
        "gpt-4.1": rates("3.5", "14", "0.875"),
        "gpt-4.1-mini": rates("0.7", "2.8", "0.175"),
        "gpt-4.1-nano": rates("0.2", "0.8", "0.05"),
        "gpt-4o": rates("4.25", "17", "2.125"),
        "gpt-4o-2024-05-13": rates("8.75", "26.25"),
        "gpt-4o-mini": rates("0.25", "1", "0.125"),
        "gpt-5": rates("2.5", "20", "0.25"),
        "gpt-5-mini": rates("0.45", "3.6", "0.045"),
        "gpt-5.1": rates("2.5", "20", "0.25"),
        "gpt-5.2": rates("3.5", "28", "0.35"),
        "o3": rates("3.5", "14", "0.875"),
        "o4-mini": rates("2", "8", "0.5"),
    },
}
"""Rates of the tiers, model by model: a model that is not listed has no such tier."""
