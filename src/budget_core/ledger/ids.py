"""Ids that are unique among processes, and URLs as messages may show them."""

from __future__ import annotations

import itertools
import re
import uuid

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
    """Return a URL as messages may show it: no password, no settings."""
    return re.sub("//.*@", "//", url.partition("?")[0])


_prefix: str
_numbers: itertools.count[int]
_fresh()
in_child(_fresh)
