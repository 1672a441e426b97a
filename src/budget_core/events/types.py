"""The events of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias

from budget_core.money.usage import Usage

EventKind: TypeAlias = Literal[
    "call",  # a call or a tracked cost was settled
    "refused",  # a call was refused before it was sent
    "stopped",  # a stream was cut because its hold was spent
    "truncated",  # an answer was cut by the cap that its hold pays for
    "warning",  # a warning threshold was crossed
    "soft_limit",
    "hard_limit",
    "loop_detected",
    "overage",  # more was spent than the limit allows
    "late",  # a cost came in after its hold had ended
    "top_up",
    "finalized",
    "cancelled",
    "risk",  # a prompt holds personal data or secrets
    "anomaly",  # the session left its own baseline
]


class SessionView(Protocol):
    """What listeners may ask of the session in which something happened; dollars as floats."""

    id: str
    account: str
    """In its ledger, where other sessions may have the same one."""

    @property
    def ledger(self) -> object:
        """Where its account is."""

    @property
    def lineage(self) -> tuple[Self, ...]:
        """Itself and its parents, up to the root."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""

    @property
    def limit(self) -> float | None:
        """Its limit for its life, None if it has none."""

    @property
    def reserved(self) -> float:
        """What is held for calls under way."""

    def report(self) -> dict[str, Any]:
        """Return what happened so far (see `BudgetSession.report`)."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a session.

    Attributes:
        at: Unix time in seconds.
        data: its details, dollars as floats. None tells what prompts or answers say.
        session: in which it happened, for listeners; None in `BudgetSession.events`.
    """

    kind: EventKind
    session_id: str
    at: float
    data: Mapping[str, Any]
    session: SessionView | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as reports give it, JSON-ready."""
        told = {"type": self.kind, "timestamp": self.at, "session_id": self.session_id}
        told = {**self.data, **told}
        if isinstance(usage := told.get("usage"), Usage):
            told["usage"] = usage._asdict()
        return told


Listener: TypeAlias = Callable[[Event], object]
