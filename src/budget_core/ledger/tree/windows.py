"""Limits per period: how much of each was spent and held in the window that is on.

A calendar's window is one slot: an hour, a day, a month. A rolling one is sixty slots and the one
that has begun, so that no stretch of its length ever holds more than the limit; it may count up to
a sixtieth too much. A hold, and what becomes of it, belongs to the slot in which it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from math import floor
from typing import Any, Final

from budget_core.ledger.records import Denial, State, WindowBalance
from budget_core.money.amounts import UNITS, Amounts
from budget_core.money.limits import Limit, Limits

SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "month": 30 * 86_400}
SLOTS: Final = 60


class Window:
    """One limit per period of one account.

    Attributes:
        since: when it was begun; holds made before that do not count.
        slots: what was spent and held in each slot that still counts, by its number.
        newest: the last slot that was seen. Time never runs backwards here.
    """

    __slots__ = ("_slot", "_start", "at", "limit", "newest", "since", "slots", "span")

    def __init__(self, limit: Limit, since: float) -> None:
        self.limit = limit
        self.at = UNITS.index(limit.unit)
        self._slot, self._start, self.span = _calendar(limit)
        self.since = since
        self.newest = self._slot(since)
        self.slots: dict[int, list[int]] = {}

    def roll(self, now: float) -> None:
        self._roll_to(self._slot(now))

    def _roll_to(self, slot: int) -> None:
        if slot > self.newest:
            self.newest = slot
            for old in [each for each in self.slots if each <= slot - self.span]:
                del self.slots[old]

    @property
    def begun(self) -> float:
        """The first moment that still counts however far a clock is set back."""
        return max(self.since, self._start(self.newest))

    def counts(self, at: float) -> int | None:
        """Return the slot of what was held or spent `at` that time, None if it is over."""
        slot = self._slot(at)
        return slot if at >= self.since and slot > self.newest - self.span else None

    def hold(self, at: float, amount: int) -> None:
        """Hold `amount` more, or less, in the slot of `at`."""
        self._add(at, 1, amount)

    def spend(self, at: float, amount: int) -> None:
        self._add(at, 0, amount)

    def used(self) -> tuple[int, int]:
        slots = self.slots.values()
        return sum(slot[0] for slot in slots), sum(slot[1] for slot in slots)

    def refusal(self, account: str, want: int, now: float, state: State) -> Denial | None:
        self.roll(now)
        spent, held = self.used()
        limit = self.limit.amount
        if not (want and spent + held + want > limit) and spent <= limit:
            return None
        after = self.retry_after(want, now)
        window = self.limit.window
        return Denial(account, self.limit.unit, limit, spent, held, want, state, after, window)

    def retry_after(self, want: int, now: float) -> float | None:
        """Return the seconds until `want` may fit, if nothing else happens; None for never."""
        if want > self.limit.amount:
            return None
        left = sum(self.used())
        for slot in sorted(self.slots):
            left -= sum(self.slots[slot])
            if left + want <= self.limit.amount:
                return max(0.0, self._start(slot + self.span) - now)
        return 0.0

    def balance(self, now: float) -> WindowBalance:
        self.roll(now)
        return WindowBalance(self.limit, *self.used())

    def saved(self) -> list[Any]:
        return [self.since, self.newest, [[slot, *used] for slot, used in self.slots.items()]]

    def restore(self, saved: list[Any]) -> None:
        self.since, self.newest, slots = saved
        self.slots = {slot: [spent, held] for slot, spent, held in slots}

    def _add(self, at: float, place: int, amount: int) -> None:
        slot = self.counts(at)
        if slot is None:
            return
        self._roll_to(slot)
        if amount:
            self.slots.setdefault(slot, [0, 0])[place] += amount


def windows_of(limits: Limits, now: float, before: Iterable[Window] = ()) -> list[Window]:
    """Return the windows of an account's limits; those that it had go on with what they hold."""
    known = {(each.limit.unit, each.limit.window): each for each in before}
    windows = []
    for limit in limits.every:
        if limit.period:
            window = Window(limit, now)
            if had := known.get((limit.unit, limit.window)):
                window.restore(had.saved())
            windows.append(window)
    return windows


def spent_over(
    windows: list[Window], account: str, amounts: Amounts, state: State
) -> Denial | None:
    for window in windows:
        spent, held = window.used()
        limit = window.limit
        if spent > limit.amount:
            want, name = amounts[window.at], limit.window
            return Denial(account, limit.unit, limit.amount, spent, held, want, state, None, name)
    return None


def _calendar(limit: Limit) -> tuple[Callable[[float], int], Callable[[int], float], int]:
    """Return the slot of a moment, the moment at which a slot begins, and how many count."""
    period = limit.period or "day"
    if limit.rolling:
        width = SECONDS[period] / SLOTS
        return lambda t: floor(t / width), lambda slot: slot * width, SLOTS + 1
    if period == "month":
        zone = _zone(limit.zone)
        return lambda t: _month(t, zone), lambda slot: _month_start(slot, zone), 1
    if period == "day" and limit.zone != "UTC":
        zone = _zone(limit.zone)
        return lambda t: _day(t, zone), lambda slot: _day_start(slot, zone), 1
    seconds = SECONDS[period]
    return lambda t: floor(t / seconds), lambda slot: slot * seconds, 1


_EPOCH: Final = date(1970, 1, 1).toordinal()


@lru_cache(64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415  slow to import, seldom needed

    return ZoneInfo(name)


def _day(t: float, zone: tzinfo) -> int:
    return datetime.fromtimestamp(t, zone).toordinal() - _EPOCH


def _day_start(slot: int, zone: tzinfo) -> float:
    first = date.fromordinal(slot + _EPOCH)
    return datetime(first.year, first.month, first.day, tzinfo=zone).timestamp()


def _month(t: float, zone: tzinfo) -> int:
    local = datetime.fromtimestamp(t, zone)
    return local.year * 12 + local.month - 1


def _month_start(slot: int, zone: tzinfo) -> float:
    return datetime(slot // 12, slot % 12 + 1, 1, tzinfo=zone).timestamp()
