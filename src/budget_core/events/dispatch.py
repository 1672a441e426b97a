"""Telling: callbacks and plugins hear of events, and can neither break nor slow the money path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from budget_core import hooks
from budget_core.events.types import Event

_log = logging.getLogger("budget_core")


def tell(event: Event) -> None:
    """Hand an event to every plugin that listens."""
    if hooks.listening("budget_event"):
        hooks.notify("budget_event", event=event)


def ask(callback: Callable[[Any], Any] | None, about: Any) -> Any:
    """Return what a user's callback answers; one that raises is logged and answers None."""
    if callback is None:
        return None
    try:
        return callback(about)
    except Exception:  # noqa: BLE001  whatever a user's callback may raise
        _log.exception("The callback %r failed; the budget is enforced without it", callback)
        return None
