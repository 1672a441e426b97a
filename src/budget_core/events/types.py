"""The events of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

EventKind: TypeAlias = Literal[
    "call",  # a call or a tracked cost was settled
    "refused",  # a call was refused before it was sent
    "stopped",  # a stream was cut because its hold was spent
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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a session.

    Attributes:
        at: Unix time in seconds.
        data: JSON-ready details. None tells what prompts or answers say.
        report: of the session, with "warning", "soft_limit", "hard_limit" and "loop_detected".
    """

    kind: EventKind
    session_id: str
    at: float
    data: Mapping[str, Any]
    report: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the event as reports give it."""
        return {"type": self.kind, "timestamp": self.at, "session_id": self.session_id, **self.data}
