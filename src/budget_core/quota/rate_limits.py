"""How much an API itself says is left: read off its rate-limit headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Final, NamedTuple

_NAME: Final = re.compile(
    r"(?:x-|anthropic-|x-ms-)?rate-?limit-"
    r"(?:(limit|remaining|reset)(?:-([a-z-]+))?|([a-z-]+)-(limit|remaining|reset))"
)
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|d|h|m|s))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_A_DATE: Final = 1e9
"""A number above this is a time since 1970, no stretch of seconds."""
_IN_MS: Final = 1e11
_LONGEST: Final = 40
"""Characters of a time, however it is written."""
_FAR: Final = 31 * 86_400.0
"""Seconds; no quota lasts longer than a month, and what names a later time is a mistake."""
_ITEM: Final = re.compile(r'\s*"?([^";,=\s]+)"?\s*((?:;\s*[a-z]+=[^;,]*)+)')
_PARAMETER: Final = re.compile(r"([a-z]+)\s*=\s*(\d{1,15})(?![\w.])")


class RateLimitState(NamedTuple):
    """What an API said of one of its limits.

    Attributes:
        limit: the limit itself, None if it was not told.
        remaining: what was left of it, less what was sent since.
        resets_at: Unix time in seconds at which it is whole again, None if it was not told.
    """

    limit: int | None = None
    remaining: int | None = None
    resets_at: float | None = None


class RateLimits:
    """What one API said last, of each of its limits. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._states: dict[str, RateLimitState] = {}
        self._blocked_until = self._at = 0.0
        self._flying = 0

    def take(self, now: float) -> float:
        """Take a request of what is left; return how many seconds it has to wait, if it does.

        After 0.0 the caller says `landed` once.
        """
        with self._lock:
            if now < self._at - 1:  # the clock was set back
                self._states.clear()
                self._blocked_until = self._at = 0.0
            until = self._blocked_until
            for state in self._states.values():
                if state.remaining is not None and state.remaining <= 0 and state.resets_at:
                    until = max(until, state.resets_at)
            if until > now:
                return until - now
            self._flying += 1
            self._lower(1)
            return 0.0

    def landed(self) -> None:
        """Say that a request that had been taken is over."""
        with self._lock:
            self._flying -= 1

    def learn(self, headers: Mapping[str, str], now: float, *, refused: bool) -> None:
        """Record what an answer says.

        Args:
            headers: names in lower case.
            now: Unix time in seconds.
            refused: it is a refusal, after which the API may ask to wait.
        """
        states = read(headers, now)
        with self._lock:
            self._states |= states
            self._at = now
            # those that are under way were not counted by the API when it said so
            self._lower(max(0, self._flying - 1))
            if refused:
                self._blocked_until = max(self._blocked_until, now + retry_after(headers, now))

    def states(self, now: float) -> dict[str, RateLimitState]:
        """Return what is left of each limit; one that has reset since is whole again."""
        with self._lock:
            states = dict(self._states)
        return {
            kind: state._replace(remaining=state.limit)
            if state.resets_at is not None and state.resets_at <= now
            else state
            for kind, state in states.items()
        }

    def _lower(self, by: int) -> None:
        for kind, state in self._states.items():
            if kind.startswith("requests") and state.remaining is not None:
                self._states[kind] = state._replace(remaining=max(0, state.remaining - by))


def read(headers: Mapping[str, str], now: float) -> dict[str, RateLimitState]:
    """Return what headers tell of each limit: "requests", "tokens", "input-tokens", …."""
    states: dict[str, dict[str, Any]] = {}
    for name, value in headers.items():
        if (found := _NAME.fullmatch(name)) is None:
            continue
        kind, what = found[2] or found[3] or "requests", found[1] or found[4]
        told = when(value, now) if what == "reset" else _count(value)
        if told is not None:
            states.setdefault(kind, {})["resets_at" if what == "reset" else what] = told
    return {kind: RateLimitState(**told) for kind, told in states.items()} | _policies(headers, now)


def _policies(headers: Mapping[str, str], now: float) -> dict[str, RateLimitState]:
    """Read what the IETF's draft has: ``RateLimit: "burst";r=50;t=30``, and its ``-Policy``.

    An earlier one had ``limit=100, remaining=50, reset=5``.
    """
    told = headers.get("ratelimit", "")
    plain = {name: int(n) for name, n in _PARAMETER.findall(told)}
    if "remaining" in plain:
        return {"requests": _state(plain.get("limit"), plain["remaining"], plain.get("reset"), now)}
    limits = _items(headers.get("ratelimit-policy", ""))
    return {
        "requests" if name == "default" else f"requests:{name}": _state(
            limits.get(name, {}).get("q"), item["r"], item.get("t"), now
        )
        for name, item in _items(told).items()
        if "r" in item
    }


def _items(value: str) -> dict[str, dict[str, int]]:
    return {
        item[1]: {name: int(n) for name, n in _PARAMETER.findall(item[2])}
        for item in map(_ITEM.match, value.split(","))
        if item is not None
    }


def _state(limit: int | None, remaining: int, seconds: int | None, now: float) -> RateLimitState:
    known = seconds is not None and seconds <= _FAR
    return RateLimitState(limit, remaining, now + (seconds or 0) if known else None)


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that an answer asks to wait, 0.0 if it asks for nothing."""
    if (value := headers.get("retry-after-ms")) and (ms := _number(value)) is not None:
        return min(ms / 1000, _FAR)
    at = when(headers.get("retry-after", ""), now)
    return 0.0 if at is None else max(0.0, at - now)


def when(value: str, now: float) -> float | None:
    """Return the Unix time that a header names, in any of the ways that are in use.

    ``"6m0s"``, ``"20ms"``, ``"12"`` and ``"1.5"`` (seconds), a Unix time in seconds or
    milliseconds, ``"2026-05-07T12:01:00Z"``, and HTTP's dates; within a month.
    """
    value = value.strip()
    at = _when(value, now) if len(value) <= _LONGEST else None
    return None if at is None or at > now + _FAR else at


def _when(value: str, now: float) -> float | None:
    if (number := _number(value)) is not None:
        if number < _A_DATE:
            return now + number
        return number / 1000 if number > _IN_MS else number
    if _SPAN.fullmatch(value):
        return now + sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(value))
    return _date(value)


def _date(value: str) -> float | None:
    for read_date in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read_date(value)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _number(value: str) -> float | None:
    return float(value) if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value) else None


def _count(value: str) -> int | None:
    # the IETF's draft lets "100, 100;w=60" follow
    first = _number(value.partition(",")[0].partition(";")[0].strip())
    return None if first is None else int(first)
