"""The provider's books: every request that arrived, and what it owes."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from budget_core.testing.reply import Bill

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Book:
    """Counts and bills; the server writes, any thread reads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._bills: list[Bill] = []
        self._in_flight = 0
        self._peak = 0

    @property
    def bills(self) -> list[Bill]:
        with self._changed:
            return list(self._bills)

    @property
    def nanos(self) -> int:
        with self._changed:
            return sum(bill.nanos for bill in self._bills)

    @property
    def requests(self) -> int:
        return len(self._bills)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def peak(self) -> int:
        return self._peak

    def arrive(self, path: str, headers: Mapping[str, str]) -> Entry:
        with self._changed:
            self._bills.append(Bill(len(self._bills), path, headers=headers))
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
            self._changed.notify_all()
            return Entry(self, self._bills, len(self._bills) - 1)

    def forget(self) -> None:
        """Start anew; what is still in flight is no longer written down."""
        with self._changed:
            self._bills = []
            self._peak = self._in_flight

    def wait(self, what: str, holds: Callable[[], bool], timeout: float) -> None:
        """Block until something holds, or raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(holds, timeout):
                raise TimeoutError(
                    f"waited {timeout} s for {what}: "
                    f"{self.requests} requests arrived, {self._in_flight} are in flight"
                )

    def _note(self, bills: list[Bill], index: int, changes: dict[str, Any]) -> None:
        with self._changed:
            bills[index] = replace(bills[index], **changes)
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()


class Entry:
    """One line in the book, while its request is in flight."""

    def __init__(self, book: Book, bills: list[Bill], index: int) -> None:
        self.index = index
        self.settled = False
        self._book = book
        self._bills = bills
        self._present = True

    def note(self, **changes: Any) -> None:
        self._book._note(self._bills, self.index, changes)  # noqa: SLF001

    def settle(self, **changes: Any) -> None:
        """Write the final bill, before the client can know that it is final."""
        self.settled = True
        self.note(**changes)

    def leave(self) -> None:
        """Count the request as over; only the first time counts."""
        if self._present:
            self._present = False
            self._book._leave()  # noqa: SLF001
