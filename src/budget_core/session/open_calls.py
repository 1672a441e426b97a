"""A session's calls in flight, and what those came to that have ended."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.session.report import Totals

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall


class OpenCalls:
    """The calls for which a session holds money.

    Attributes:
        totals: the running sums behind the report.
    """

    def __init__(self) -> None:
        self.totals = Totals()
        self._calls: dict[str, PaidCall] = {}
        self._lock = RLock()  # reentrant: a finalizer may run in here

    def __len__(self) -> int:
        return len(self._calls)

    def opened(self, call: PaidCall) -> None:
        """Keep an open call, so that it can be swept."""
        self._calls[call.reservation.id] = call

    def released(self, call: PaidCall) -> None:
        """Drop a call that was released."""
        self._calls.pop(call.id, None)

    def count(self, call: PaidCall) -> None:
        """Count a call that was settled."""
        with self._lock:
            self._calls.pop(call.reservation.id, None)
            self.totals.add(call)

    def fingerprints(self) -> list[Any]:
        """Return the fingerprints of the calls in flight."""
        return [call.request.fingerprint for call in tuple(self._calls.values())]

    def finalizing(self) -> bool:
        """Return whether one of them is a last call."""
        return any(call.reservation.final is not None for call in tuple(self._calls.values()))

    def sweep(self) -> None:
        """Settle calls that nobody ended, as unknown: silence is never free."""
        for call in tuple(self._calls.values()):
            call.settle(None)
