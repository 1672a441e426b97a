"""Ids that are unique among processes, and URLs as messages may show them."""

from __future__ import annotations

import itertools
import re
import uuid
from typing import Final

from budget_core.runtime.forks import in_child


def _fresh() -> None:
    global _prefix, _numbers
    _prefix, _numbers = uuid.uuid4().hex[:16], itertools.count(1)


def new_id() -> str:
    """Return an id that no other call in any process has (uuid4 prefix of the process + count)."""
    return f"{_prefix}-{next(_numbers)}"


def number_of(key: str) -> int:
    """Return how many ids this process had made when it made this one; 0 if it is not its own."""
    prefix, _, number = key.rpartition("-")
    return int(number) if prefix == _prefix else 0


def shown(url: str) -> str:
    """Return a URL as messages may show it: scheme, host and port.

    Where it could be read in two ways, as with an unescaped ``?`` or ``/`` in a password, not even
    the host: what stands in its place may be a part of the password.
    """
    found = _URL.match(url)
    if found is None:
        return "…"
    server = _SERVER.fullmatch(url, found.end())
    return found[0] + (server[1] if server else "…")


def ambiguous(url: str) -> bool:
    """Return whether an @ stands behind the server, so that a password may pass for one."""
    return _BEHIND.search(url) is not None


_BEHIND: Final = re.compile("://[^/?#]*[/?#].*@", re.DOTALL)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_SERVER: Final = re.compile(
    r"(?:[^/?#]*@)?((?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?)(?:[/?#][^@]*)?", re.ASCII | re.IGNORECASE
)
_prefix: str
_numbers: itertools.count[int]
_fresh()
in_child(_fresh)
