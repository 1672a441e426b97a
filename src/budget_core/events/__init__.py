"""What happened, and who is told.

Listeners are callables of one `Event`, for one budget (``AgentBudget(listeners=[...])``) or for all
(`listen`). Those at hand: `logs.LogListener`, `jsonl.JsonLines`, `webhook.Webhook`,
`ingest.Ingest` and `otel.OpenTelemetry`.
"""

from budget_core.events.dispatch import ask, callable_listener, listen, tell
from budget_core.events.types import Event, EventKind, Listener, SessionView

__all__ = [
    "Event",
    "EventKind",
    "Listener",
    "SessionView",
    "ask",
    "callable_listener",
    "listen",
    "tell",
]
