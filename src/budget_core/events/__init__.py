"""What happened, and who is told."""

from budget_core.events.dispatch import ask, tell
from budget_core.events.types import Event, EventKind

__all__ = ["Event", "EventKind", "ask", "tell"]
