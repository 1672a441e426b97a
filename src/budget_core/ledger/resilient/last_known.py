"""What was last known to be left of accounts, and what this process has taken of it since."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from budget_core.ledger.records import Denial, Headroom
from budget_core.money.amounts import UNITS, Amounts


class LastKnown:
    """The last known remainders, account by account."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rooms: dict[str, list[int | None]] = {}
        self._parents: dict[str, str | None] = {}

    def know(self, account: str, parent: str | None, room: Headroom) -> None:
        with self._lock:
            self._parents[account], self._rooms[account] = parent, list(room)

    def learn(self, accounts: Sequence[str], room: Headroom) -> None:
        with self._lock:
            if len(accounts) == 1 and accounts[0] in self._rooms:
                self._rooms[accounts[0]] = list(room)

    def left(self, accounts: Sequence[str]) -> Headroom | None:
        """Return what was left when the ledger was last heard; None if that is not known."""
        with self._lock:
            path = self._path(accounts)
            if path is None:
                return None
            columns = zip(*(self._rooms[account] for account in path), strict=True)
            return Headroom(
                *(min((x for x in each if x is not None), default=None) for each in columns)
            )

    def refusal(self, accounts: Sequence[str], amounts: Amounts) -> Denial | None:
        """Return why `amounts` more is not within what was left, or None."""
        with self._lock:
            for account in self._path(accounts) or ():
                for unit, want, free in zip(UNITS, amounts, self._rooms[account], strict=True):
                    if free is not None and want > free:
                        return Denial(account, unit, max(0, free), 0, 0, want)
        return None

    def take(self, accounts: Sequence[str], amounts: Sequence[int]) -> None:
        """Deduct `amounts`, or give them back where they are negative."""
        with self._lock:
            for account in self._path(accounts) or ():
                room = self._rooms[account]
                self._rooms[account] = [
                    None if free is None else free - more
                    for free, more in zip(room, amounts, strict=True)
                ]

    def path(self, accounts: Sequence[str]) -> list[str] | None:
        with self._lock:
            return self._path(accounts)

    def forget(self, account: str) -> None:
        """Drop an account that can no longer be named; finalizers may, so without the lock."""
        self._rooms.pop(account, None)
        self._parents.pop(account, None)

    def forked(self) -> None:
        self._lock = Lock()

    def _path(self, accounts: Sequence[str]) -> list[str] | None:
        path: dict[str, None] = {}
        for account in accounts:
            each: str | None = account
            if account not in self._rooms:
                return None
            while each is not None:
                if each in self._rooms:
                    path[each] = None
                each = self._parents.get(each)
        return list(path)
