"""A session's calls in flight, and what those came to that have ended."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.session.report import Totals

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall


class OpenCalls:
    """The calls for which a session holds money.

    Args:
        session: returns the session, or None if it is no longer used.

    Attributes:
        totals: the running sums behind the report.
    """

    def __init__(self, session: Callable[[], Any]) -> None:
        self._session = session
        self.totals = Totals()
        self._calls: dict[str, PaidCall] = {}
        self._lock = RLock()  # reentrant: a finalizer may run in here

    def __len__(self) -> int:
        return len(self._calls)

    def opened(self, call: PaidCall) -> None:
        self._calls[call.reservation.id] = call

    def released(self, call: PaidCall) -> None:
        self._calls.pop(call.id, None)

    def count(self, call: PaidCall) -> None:
        """Count a call that was settled, of the session itself or of one below it."""
        payer, mine = call.payer, self._session()
        below = payer is not mine and mine in payer.above
        with self._lock:
            self._calls.pop(call.reservation.id, None)
            totals = self.totals
            request, cost, usage = call.request, call.cost, call.usage
            totals.spent += cost
            if below:
                totals.below += cost
            if request.kind == "tool":
                totals.tool_calls += 1
                totals.tools[request.name] += cost
            else:
                totals.llm += cost
                totals.llm_calls += 1
                totals.models[request.model] += cost
                if usage is not None:
                    tokens = totals.tokens
                    tokens[0] += usage.input
                    tokens[1] += usage.cache_read
                    tokens[2] += usage.cache_write
                    tokens[3] += usage.output
                    tokens[4] += usage.reasoning
                if call.truncated:
                    totals.truncated += 1
                if not call.priced:
                    totals.unpriced += 1
            if request.agent is not None:
                totals.agents[request.agent] += cost
            if payer is mine:
                call.number = totals.llm_calls

    def fingerprints(self) -> list[Any]:
        calls = tuple(self._calls.values())
        return [call.request.fingerprint for call in calls] if calls else []

    def finalizing(self) -> bool:
        return any(call.reservation.final is not None for call in tuple(self._calls.values()))

    def sweep(self) -> None:
        """Settle calls that were not ended, as unknown: silence is never free."""
        for call in tuple(self._calls.values()):
            call.settle(None)
