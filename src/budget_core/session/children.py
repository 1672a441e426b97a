"""The children of a session, those that have ended included: what its report says of them."""

from __future__ import annotations

import weakref
from collections import deque
from itertools import islice
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Protocol

from budget_core.money.usd import to_usd

if TYPE_CHECKING:
    from budget_core.session.standing import Standing

MOST_LISTED: Final = 100
"""Children that a report names; of those that ended, the oldest become one sum."""


_MOST_SESSIONS: Final = 16


class Sums(Protocol):
    """What a session's calls came to."""

    spent: int


class Child(Protocol):
    """A session, as its parent sees it."""

    id: str
    label: str | None
    standing: Standing

    @property
    def closed(self) -> bool: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def spent(self) -> float: ...
    @property
    def totals(self) -> Sums: ...


class _Record:
    """A child's account: the session that has it open, and what it had come to before that."""

    __slots__ = ("_before", "_ended", "_limit", "_session", "_totals", "child")

    def __init__(self, child: Child) -> None:
        self._before = child.standing.spent_before.usd
        self._ended = 0
        self._totals: deque[Sums] = deque()
        self.renew(child)

    def renew(self, child: Child) -> None:
        """Let another session of the same account take the place of the last one."""
        if len(self._totals) == _MOST_SESSIONS:
            self._ended += self._totals.popleft().spent
        self._totals.append(child.totals)
        self._session, self._limit = weakref.ref(child), child.limit
        self.child = {"session_id": child.id}
        if child.label is not None and child.label != child.id:
            self.child["name"] = child.label

    @property
    def session(self) -> Child | None:
        """The session, if it is still in use."""
        return self._session()

    @property
    def over(self) -> bool:
        """Return whether it is no longer used, or was closed."""
        return (session := self.session) is None or session.closed

    @property
    def here(self) -> int:
        """The nanos that this process has seen it spend."""
        return self._ended + sum(totals.spent for totals in self._totals)

    def report(self) -> dict[str, Any]:
        """Return what a report says of it."""
        session, spent = self.session, to_usd(self._before + self.here)
        if session is not None:
            self._limit, spent = session.limit, session.spent
        return {**self.child, "budget": self._limit, "total_spent": spent}


class Children:
    """The children of one session, in the order in which they were opened. Thread-safe."""

    def __init__(self) -> None:
        self._records: dict[object, _Record] = {}
        self._folded = 0
        self._most = MOST_LISTED
        self._lock = RLock()  # reentrant: a finalizer may run in here

    def add(self, child: Child) -> None:
        """Keep a child that was opened."""
        key = child.standing.account if child.standing.named else object()
        with self._lock:
            if (known := self._records.pop(key, None)) is not None:
                known.renew(child)
            self._records[key] = known or _Record(child)
            if len(self._records) > self._most:
                self._fold()

    def live(self) -> tuple[Any, ...]:
        """Return those that are still in use."""
        with self._lock:
            found = [record.session for record in self._records.values()]
        return tuple(session for session in found if session is not None)

    def report(self, below: int) -> dict[str, Any]:
        """Return the parts of a report that tell of children.

        Args:
            below: the nanos that all children have spent.
        """
        with self._lock:
            self._fold()
            records, folded = list(self._records.values()), self._folded
            rest = below - sum(record.here for record in records)
        told: dict[str, Any] = {"children": [record.report() for record in records]}
        if folded:
            told["other_children"] = {"count": folded, "total_spent": to_usd(rest)}
        return told

    def _fold(self) -> None:
        """Drop the oldest that ended, down to a hundred; look again when they have doubled."""
        many = len(self._records) - MOST_LISTED
        if many > 0:
            ended = (key for key, record in self._records.items() if record.over)
            for key in tuple(islice(ended, many)):
                del self._records[key]
                self._folded += 1
        left = len(self._records)
        self._most = MOST_LISTED if left <= MOST_LISTED else 2 * left
