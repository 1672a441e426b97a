"""The events of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from budget_core.money.usage import Usage

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession

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
        data: its details, dollars as floats. None tells what prompts or answers say.
        session: in which it happened, for listeners; None in `BudgetSession.events`.
    """

    kind: EventKind
    session_id: str
    at: float
    data: Mapping[str, Any]
    session: BudgetSession | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as reports give it, JSON-ready."""
        told = {"type": self.kind, "timestamp": self.at, "session_id": self.session_id}
        told = {**self.data, **told}
        if isinstance(usage := told.get("usage"), Usage):
            told["usage"] = usage._asdict()
        return told


Listener: TypeAlias = Callable[[Event], object]
