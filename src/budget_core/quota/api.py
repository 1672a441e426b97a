"""An API that is watched: where it is, and how much of it may be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

from budget_core.errors import InvalidBudget
from budget_core.money.amounts import LABELS, Unit
from budget_core.money.limits import Limit, Limits
from budget_core.runtime.settings import checked_settings

PREFIX: Final = "quota:"
"""With which the accounts begin that count what is used of an API."""

REQUESTS: Final[Mapping[Unit, str]] = {**LABELS, "llm_calls": "request"}
"""The words of quotas: what a ledger counts as calls are requests here."""

_PORTS: Final = {"http": 80, "https": 443}
_A_REQUEST: Final = re.compile(r"\brequests?\b", re.IGNORECASE)


@checked_settings
@dataclass(frozen=True, slots=True)
class Api:
    """An API, known by the beginning of its URLs.

    Attributes:
        name: as records, reports and errors call it.
        base_url: scheme, host, port, and the path with which its paths begin, if any; credentials
            and a query string are not kept.
        limits: ``"60 requests/min"``, ``"2M tokens/day"``, ``"500 requests/rolling hour"``, or a
            `Limit` of calls or tokens; per second, minute, hour, day or month.

    Raises:
        InvalidBudget: a limit or the URL cannot be read.
        UnknownSetting: there is no such setting.
    """

    name: str
    base_url: str
    limits: Sequence[str | Limit] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _base(self.base_url))
        Limits.of(*(limits := tuple(map(_limit, self.limits))))
        object.__setattr__(self, "limits", limits)

    @property
    def account(self) -> str:
        """The account of the ledger that counts what is used."""
        return f"{PREFIX}{self.name}"

    @property
    def every(self) -> tuple[Limit, ...]:
        """The limits, read."""
        return cast("tuple[Limit, ...]", self.limits)

    def covers(self, url: SplitResult) -> int:
        """Return how much of a URL's path this API claims, 0 if the URL is another's."""
        base = urlsplit(self.base_url)
        path = base.path.rstrip("/")
        inside = url.path == path or url.path.startswith(f"{path}/") or not path
        return len(path) + 1 if inside and _origin(base) == _origin(url) else 0


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        authority = parts.netloc.rpartition("@")[2]
        if not authority.isascii():
            authority = authority.encode("idna").decode()
    except ValueError:
        host = None
    if not host:
        raise InvalidBudget("base_url= names no host; write one such as 'https://api.openai.com'.")
    return parts._replace(netloc=authority, query="", fragment="").geturl()


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)


def _limit(value: str | Limit) -> Limit:
    limit = Limit.parse(_A_REQUEST.sub("calls", value) if isinstance(value, str) else value)
    if limit.unit not in ("llm_calls", "tokens") or limit.period is None:
        raise InvalidBudget(
            f"{value!r} is no quota of an API: write requests or tokens per second, minute, hour, "
            "day or month, as in '60 requests/min'."
        )
    return limit
