"""What the scripts are told and answer, and the ledger's records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Hold,
    Lasts,
    LiveHoldView,
    WindowBalance,
)
from budget_core.ledger.tree.windows import SECONDS, SLOTS
from budget_core.money.amounts import UNITS, Amounts
from budget_core.money.limits import Limit, Limits

_EXACT: Final = 2 * 10**15
_YEARS: Final = 30
LOST: Final = (
    "the server has evicted it, or somebody has deleted it, and what it held is lost. Set "
    "maxmemory-policy noeviction, and restore it from a backup, or begin with another namespace."
)
"""What a missing part of a ledger means."""


def text(amounts: Amounts) -> str:
    """Return amounts as scripts read them, JSON: those that a double cannot hold are quoted."""
    if max(amounts) < _EXACT:
        return "[{},{},{},{}]".format(*amounts)
    return json.dumps(_numbers(amounts))


def opening(account: Account, *, update: bool) -> str:
    every = account.limits.every
    told = {
        "id": account.id,
        "parent": account.parent,
        "terms": terms_of(account),
        "reserve": _numbers(account.reserve),
        "caps": [[UNITS.index(x.unit) + 1, _number(x.amount)] for x in every if not x.period],
        "windows": [_window(x) for x in every if x.period],
        "allocated": account.allocated,
        "lasts": account.lasts,
        "update": update,
        "zones": {x.zone: json.dumps(offsets(x.zone)) for x in every if _zoned(x)},
    }
    return json.dumps(told)


def terms_of(account: Account) -> str:
    """Return an account's declared terms as text; equal terms are equal texts."""
    limits = [[x.unit, x.amount, x.period, x.rolling, x.zone] for x in account.limits.every]
    return json.dumps([account.parent, limits, account.reserve, account.allocated])


@lru_cache(4096)
def account_from(key: str, terms: str, lasts: Lasts = "name") -> Account:
    parent, limits, reserve, allocated = json.loads(terms)
    every = Limits(tuple(Limit(*each) for each in limits))
    return Account(key, parent, every, Amounts(*reserve), allocated, lasts)


def balance_from(told_: Sequence[Any]) -> Balance:
    key, terms, caps, kept, spent, held, state, windows = told_
    limits = current(account_from(key, terms).limits, caps)
    windowed = [limit for limit in limits.every if limit.period]
    standing = tuple(
        WindowBalance(limit, int(used[0]), int(used[1]))
        for limit, used in zip(windowed, windows, strict=True)
    )
    return Balance(key, limits, vector(kept), vector(spent), vector(held), state, standing)


def denial_from(told_: Sequence[Any]) -> Denial:
    account, unit, limit, spent, held, want, state, retry, period = told_
    return Denial(account, unit, int(limit), int(spent), int(held), int(want), state, retry, period)


def entry_from(told_: Sequence[Any]) -> Entry:
    key, kind, accounts, path, held, amounts, after, over, late, asked, time = told_
    return Entry(
        key, kind, tuple(accounts), tuple(path), vector(held), vector(amounts),
        tuple(vector(each) for each in after), None if over is None else denial_from(over), late,
        None if asked is None else vector(asked), time,
    )  # fmt: skip


def vector(told_: Iterable[Any]) -> Amounts:
    return Amounts(*map(int, told_))


def hold_view(told_: dict[str, Any], now: float) -> LiveHoldView:
    hold = Hold(told_["id"], tuple(told_["accounts"]), vector(told_["amounts"]))
    expires = max(0.0, float(told_["expires"]) - now)
    return LiveHoldView(hold, max(0.0, now - told_["at"]), told_["owner"], expires)


@lru_cache(256)
def offsets(zone: str) -> list[list[int]]:
    """Return when a zone's offset from UTC changes, in seconds since 1970, and to how much."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415  slow to import, seldom needed

    here, week = ZoneInfo(zone), timedelta(days=7)

    def offset(t: datetime) -> int:
        return int((t.astimezone(here).utcoffset() or timedelta()).total_seconds())

    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=400)
    found = [[0, offset(at)]]
    for _ in range(_YEARS * 52):
        if offset(at + week) != found[-1][1]:
            low, high = at, at + week
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
                low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
            found.append([int(high.timestamp()), offset(high)])
        at += week
    return found


def _zoned(limit: Limit) -> bool:
    return limit.period in {"day", "month"} and not limit.rolling and limit.zone != "UTC"


def _window(limit: Limit) -> list[Any]:
    at, amount, period = UNITS.index(limit.unit) + 1, _number(limit.amount), limit.period or ""
    if limit.rolling:
        return [at, amount, "f", SECONDS[period] / SLOTS, SLOTS + 1, "UTC", limit.window]
    kind = "m" if period == "month" else "d" if _zoned(limit) else "f"
    return [at, amount, kind, SECONDS[period], 1, limit.zone, limit.window]


def _numbers(amounts: Amounts) -> list[int | str]:
    return [_number(x) for x in amounts]


def _number(x: int) -> int | str:
    return x if x < _EXACT else str(x)


def current(declared: Limits, caps: Sequence[Any]) -> Limits:
    left = iter(caps)
    return Limits(tuple(x if x.period else Limit(x.unit, int(next(left))) for x in declared.every))
