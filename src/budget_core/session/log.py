"""What happened in a session: its events, who is told of them, and what ended it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import time
from typing import TYPE_CHECKING, Any, Final

from budget_core.events import Event, EventKind, ask, tell
from budget_core.money.usd import to_usd
from budget_core.runtime.plugins import asking

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall
    from budget_core.ledger.records import Entry
    from budget_core.session.policy import Policy

KEPT_EVENTS: Final = 256


class SessionLog:
    """The log of one session.

    Args:
        session_id: its id.
        policy: whose listeners, labels and callbacks count.
        session: returns the session, or None if it is no longer used.

    Attributes:
        terminated_by: what ended the session, None if nothing did.
    """

    def __init__(self, session_id: str, policy: Policy, session: Callable[[], Any]) -> None:
        self.session = session
        self.session_id = session_id
        self._policy = policy
        self._events: deque[_Kept] = deque(maxlen=KEPT_EVENTS)
        self.terminated_by: str | None = None

    def events(self) -> tuple[Event, ...]:
        return tuple(kept.event(self.session_id) for kept in tuple(self._events))

    def told(self) -> list[dict[str, Any]]:
        """Return the events as reports give them; what one says is made once."""
        told = [kept.told or self._tell(kept) for kept in tuple(self._events)]
        return list(map(dict.copy, told))

    def emit(self, kind: EventKind, /, **data: Any) -> None:
        if self._policy.labels:
            data = {**self._policy.labels, **data}
        event = Event(kind, self.session_id, time(), data)
        self._events.append(_Kept(event))
        if self._policy.listeners or asking.listening("budget_event"):
            tell(replace(event, session=self.session()), self._policy.listeners)

    def ask(self, callback: Callable[[Any], Any] | None) -> Any:
        session = self.session()
        return None if session is None else ask(callback, session.report)

    def terminate(self, why: str) -> None:
        """Record what ended the session, if nothing had before."""
        self.terminated_by = self.terminated_by or why

    def ended(self, call: PaidCall, entries: Sequence[Entry], llm_calls: int) -> None:
        """Tell of a call that was settled.

        Args:
            call: the call.
            entries: what the ledgers recorded of it.
            llm_calls: how many LLM calls there were by now.
        """
        told = _Ended(call, time(), llm_calls)
        policy = self._policy
        if policy.labels or policy.listeners or asking.heard.get("budget_event") != ():
            self.emit("call", **told.data())
        else:
            self._events.append(told)
        for entry in entries:
            if entry.late:
                name = call.request.name or call.request.model
                self.emit("late", name=name, cost=to_usd(call.cost))
            if (over := entry.over) is not None and over.spent > over.limit:
                self.emit("overage", account=over.account, unit=over.unit)

    def _tell(self, kept: _Kept) -> dict[str, Any]:
        told = kept.told = kept.event(self.session_id).as_dict()
        return told


class _Kept:
    """An event.

    Attributes:
        told: what reports say of it, once there was one.
    """

    __slots__ = ("_event", "told")

    def __init__(self, event: Event) -> None:
        self._event = event
        self.told: dict[str, Any] | None = None

    def event(self, _session_id: str) -> Event:
        return self._event


class _Ended(_Kept):
    """A call that was settled: kept as it is, and made an event when one is asked for."""

    __slots__ = (
        "agent", "at", "cost", "iteration", "kind", "model", "name", "priced", "provider", "risks",
        "seconds", "source", "usage",
    )  # fmt: skip

    def __init__(self, call: PaidCall, at: float, llm_calls: int) -> None:
        self.told = None
        request = call.request  # which is not kept: its prompt may be long
        self.kind = request.kind
        self.name = request.name or request.model
        self.agent = request.agent
        self.provider = request.provider
        self.at = at
        self.seconds = at - call.began
        self.cost = call.cost
        self.iteration = llm_calls if request.kind == "llm" else None
        self.model = call.model
        self.priced = call.priced
        self.source = call.source
        self.risks = call.risks
        self.usage = call.usage

    def event(self, session_id: str) -> Event:
        return Event("call", session_id, self.at, self.data())

    def data(self) -> dict[str, Any]:
        data = {
            "kind": self.kind,
            "name": self.name,
            "cost": to_usd(self.cost),
            "agent": self.agent,
            "provider": self.provider,
            "model": self.model,
            "usage": self.usage,
            "priced": self.priced,
            "seconds": self.seconds,
            "risks": list(self.risks),
            "iteration": self.iteration,
        }
        return data if self.source is None else {**data, "source": self.source}
