"""Limits: amounts of four units, for an account's life or per window."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from budget_core.errors import InvalidBudget
from budget_core.money.amounts import LABELS, UNITS, Amounts, Unit, format_amount
from budget_core.money.usd import Money, parse_usd

Period: TypeAlias = Literal["second", "minute", "hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` of `unit` (nanos for usd), for life or per `period`.

    >>> str(Limit.parse("$5")), str(Limit.parse("2M tokens/day"))
    ('$5.00', '2,000,000 tokens/day')

    Attributes:
        period: a calendar's, such as each day; a month is a calendar month.
        rolling: any stretch of that length instead, such as any 24 hours; a month is 30 days.
        zone: the IANA time zone in which days and months begin.
    """

    unit: Unit
    amount: int
    period: Period | None = None
    rolling: bool = False
    zone: str = "UTC"

    @classmethod
    def parse(cls, value: Money | Limit) -> Limit:
        """Read ``"$5"``, ``5.0``, ``"$20/day"``, ``"100 calls/hour"``, ``"2M tokens/day"``.

        ``"$20/rolling day"`` is any 24 hours, ``"$20/day in Europe/Berlin"`` a day there.

        Raises:
            InvalidBudget: it cannot be read.
        """
        if isinstance(value, Limit):
            return value
        if not isinstance(value, str):
            return cls("usd", parse_usd(value))
        return _written(value)

    @property
    def window(self) -> str | None:
        """The period as it is written: "day", "rolling hour", "month in Asia/Tokyo", or None."""
        if self.period is None:
            return None
        zone = "" if self.zone == "UTC" else f" in {self.zone}"
        return f"{'rolling ' if self.rolling else ''}{self.period}{zone}"

    def written(self, labels: Mapping[Unit, str] = LABELS) -> str:
        """Return it as it is parsed, with these words for the units."""
        text = format_amount(self.unit, self.amount, labels)
        return f"{text}/{self.window}" if self.period else text

    def __str__(self) -> str:
        return self.written()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may come to: any number of `Limit`, at most one a unit and period."""

    every: tuple[Limit, ...] = ()

    @classmethod
    def of(
        cls,
        *usd: Money | Limit,
        tokens: int | None = None,
        llm_calls: int | None = None,
        tool_calls: int | None = None,
    ) -> Limits:
        """Collect limits as users write them; counts must be whole and not negative.

        Raises:
            InvalidBudget: one cannot be read, or two contradict each other.
        """
        counts: dict[Unit, int | None] = {
            "tokens": tokens,
            "llm_calls": llm_calls,
            "tool_calls": tool_calls,
        }
        every = [Limit.parse(value) for value in usd]
        every += [Limit(unit, _count(unit, n)) for unit, n in counts.items() if n is not None]
        if len({(limit.unit, limit.window) for limit in every}) < len(every):
            listed = ", ".join(map(str, every))
            raise InvalidBudget(f"Two limits of one unit and period: {listed}. Keep one of them.")
        return cls(tuple(every))

    def lifelong(self, unit: Unit) -> int | None:
        """Return the amount of `unit` for the account's life, or None if that is not limited."""
        return next((x.amount for x in self.every if x.unit == unit and not x.period), None)

    def lowered(self, usd: int) -> Limits:
        """Return these limits with the life-long dollars cut to `usd` nanos."""
        return Limits(
            tuple(
                Limit("usd", min(x.amount, usd)) if x.unit == "usd" and not x.period else x
                for x in self.every
            )
        )

    def raised(self, by: Amounts) -> Limits:
        """Return these limits with `by` added to the life-long ones."""
        return Limits(
            tuple(
                x if x.period else replace(x, amount=x.amount + by[UNITS.index(x.unit)])
                for x in self.every
            )
        )


UNLIMITED: Final = Limits()


_COUNT = re.compile(
    r"(\d[\d,]*(?:\.\d+)?)\s*([kKmM]?)\s*(tokens?|(?:llm|LLM)[ _]calls?|tool[ _]calls?|calls?)"
)
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000}
_UNIT_WORDS: dict[str, Unit] = {
    **dict.fromkeys(("token", "tokens"), "tokens"),
    **dict.fromkeys(("call", "calls"), "llm_calls"),
    **dict.fromkeys(("llm call", "llm calls", "llm_call", "llm_calls"), "llm_calls"),
    **dict.fromkeys(("tool call", "tool calls", "tool_call", "tool_calls"), "tool_calls"),
}
_PERIODS: dict[str, Period] = {
    "s": "second",
    "sec": "second",
    "second": "second",
    "min": "minute",
    "minute": "minute",
    "h": "hour",
    "hour": "hour",
    "d": "day",
    "day": "day",
    "month": "month",
}


_WINDOW = re.compile(r"\s*(rolling\s+)?(\w+)(?:\s+in\s+(\S+))?\s*", re.IGNORECASE)


@lru_cache(maxsize=1_024)  # the same for each child of an agent
def _written(text: str) -> Limit:
    amount, slash, window = text.partition("/")
    when = _window(window, text) if slash else ()
    if counted := _COUNT.fullmatch(amount.strip()):
        number = Decimal(counted[1].replace(",", "")) * _SCALE[counted[2].lower()]
        return Limit(_UNIT_WORDS[counted[3].lower()], int(number), *when)
    return Limit("usd", parse_usd(amount), *when)


def _window(text: str, whole: str) -> tuple[Period, bool, str]:
    written = _WINDOW.fullmatch(text)
    period = _PERIODS.get(written[2].lower()) if written else None
    if written is None or period is None:
        known = ", ".join(sorted(set(_PERIODS.values())))
        raise InvalidBudget(f"{whole!r} has no period that is known; write one of {known}.")
    return period, bool(written[1]), _zone(written[3] or "UTC", whole)


def _zone(name: str, whole: str) -> str:
    if name != "UTC":
        from zoneinfo import ZoneInfo  # noqa: PLC0415  slow to import, seldom needed

        try:
            ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            raise InvalidBudget(
                f"{whole!r} names no time zone that is known; write one such as Europe/Berlin."
            ) from None
    return name


def _count(unit: Unit, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidBudget(f"{unit}= takes a whole number, 0 or more; got {value!r}.")
    return value
