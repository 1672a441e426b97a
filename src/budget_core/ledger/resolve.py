"""From what a user names a ledger by to the ledger."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakValueDictionary

from budget_core.errors import InvalidBudget
from budget_core.ledger.contract import Ledger
from budget_core.ledger.ids import ambiguous, shown
from budget_core.ledger.memory import MemoryLedger
from budget_core.runtime.plugins import asking
from budget_core.runtime.plugins.markers import hookimpl

ENVIRONMENT: Final = "BUDGET_LEDGER"
"""The variable that names the ledger where a program does not."""

_known: WeakValueDictionary[str, Ledger] = WeakValueDictionary()
_lock = Lock()


def ledger_from(value: Ledger | str | None) -> Ledger:
    """Return the ledger for an object, a URL, or None.

    None is what ``BUDGET_LEDGER`` names in the environment, else a fresh one in memory. The same
    database is one ledger in all of a process.

    Raises:
        InvalidBudget: no ledger knows the URL's scheme, or what it says behind the ``?``.
    """
    if isinstance(value, Ledger):
        return value
    url = value if value is not None else os.environ.get(ENVIRONMENT) or "memory://"
    if url == "memory://":
        return MemoryLedger()
    ledger = asking.first("budget_ledger", LedgerRequest(url), passing=Exception)
    if isinstance(ledger, Ledger):
        return ledger
    raise InvalidBudget(
        f"No ledger for {shown(url)!r}. Known: 'memory://', 'sqlite:///budgets.db', "
        "'redis://localhost/0', a Ledger object, and what plugins add (hook budget_ledger)."
    )


@hookimpl
def budget_ledger(request: LedgerRequest) -> Ledger | None:
    scheme = request.url.partition("://")[0]
    if scheme == "sqlite":
        return _sqlite(request.url)
    return _redis(request.url) if scheme in {"redis", "rediss"} else None


def _sqlite(url: str) -> Ledger:
    from budget_core.ledger.sqlite import SqliteLedger  # noqa: PLC0415  only if it is wanted

    try:
        parts = urlsplit(url)
        path = parts.path.removeprefix("/")
        key = os.path.realpath(path)
        named = bool(path) and not parts.netloc
    except ValueError:  # as of a null byte
        named = False
    if not named:
        raise InvalidBudget(
            f"{shown(url)!r} names no file. Write 'sqlite:///budgets.db' for one in the working "
            "directory, or 'sqlite:////var/lib/budgets.db' for one anywhere."
        )
    options = _options(url, parts.query, ("durability", "ttl", "on_expiry", "timeout"))
    return _one(url, f"sqlite {key}", options, lambda: SqliteLedger(key, **options))


def _redis(url: str) -> Ledger:
    try:
        from budget_core.ledger.redis import RedisLedger  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise InvalidBudget(
            f"{shown(url)!r} needs the Redis client: pip install 'budget-suite[redis]'."
        ) from None
    if ambiguous(url):
        raise InvalidBudget(
            f"{shown(url)!r} has an @ behind its server. In a password, write / as %2F, ? as %3F "
            "and # as %23; in a setting, @ as %40."
        )
    known = ("namespace", "ttl", "on_expiry", "timeout", "keep_entries")
    server, _, query = url.partition("?")
    options = _options(url, query, known)
    key = f"redis {server} {options.get('namespace', '')}"
    return _one(url, key, options, lambda: RedisLedger(server, **options))


def _one(url: str, name: str, options: Mapping[str, Any], make: Any) -> Ledger:
    with _lock:
        ledger = _known.get(name)
        if ledger is None:
            ledger = _known[name] = make()
            ledger.options = options
        elif ledger.options != options:  # type: ignore[attr-defined]
            names = " and ".join(
                name
                for name in _SETTINGS
                if ledger.options.get(name) != options.get(name)  # type: ignore[attr-defined]
            )
            raise InvalidBudget(
                f"{shown(url)!r} is in use in this process with another {names}. Name it by the "
                "same URL."
            )
        return ledger


def _options(url: str, query: str, known: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise InvalidBudget(
                f"{shown(url)!r}: behind its ? stands what is none of {', '.join(known)}."
            )
        read, rule = _SETTINGS[name]
        try:
            options[name] = read(value)
        except ValueError:
            raise InvalidBudget(f"{shown(url)!r}: {name}= is {rule}.") from None
    return options


def _above_zero(kind: type[float]) -> Callable[[str], float]:
    def read(value: str) -> float:
        number = kind(value)
        if not 0 < number < inf:
            raise ValueError
        return number

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if re.fullmatch(pattern, value, re.DOTALL) is None:
            raise ValueError
        return value

    return read


_SETTINGS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "ttl": (_above_zero(float), "a number above 0"),
    "timeout": (_above_zero(float), "a number above 0"),
    "keep_entries": (_above_zero(int), "a whole number above 0"),
    "on_expiry": (_matching("charge|release"), "charge or release"),
    "durability": (_matching("normal|full"), "normal or full"),
    "namespace": (_matching("[^{}]+"), "a name without braces"),
}
"""The settings behind a URL's ``?``: how each is read, and what it may be."""


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """Which ledger is asked for, by URL."""

    url: str
