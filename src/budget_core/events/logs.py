"""Every event in Python's logging."""

from __future__ import annotations

import logging
from typing import Final

from budget_core.events.types import Event, EventKind
from budget_core.runtime.printing import printable

_LEVELS: Final[dict[EventKind, int]] = {
    "call": logging.DEBUG,
    "top_up": logging.INFO,
    "finalized": logging.INFO,
    "loop_detected": logging.ERROR,
    "overage": logging.ERROR,
}


class LogListener:
    """Logs events: calls as DEBUG, loops and overages as ERROR, most others as WARNING.

    The event is the record's attribute `budget`, for handlers that write JSON.

    Args:
        logger: a logger, or its name.
    """

    def __init__(self, logger: logging.Logger | str = "budget_core.events") -> None:
        self._log = logging.getLogger(logger) if isinstance(logger, str) else logger

    def __call__(self, event: Event) -> None:
        level = _LEVELS.get(event.kind, logging.WARNING)
        if self._log.isEnabledFor(level):
            told = ", ".join(f"{key}={value}" for key, value in event.data.items())
            extra = {"budget": event.as_dict()}
            where = printable(event.session_id)
            self._log.log(level, "%s in %s: %s", event.kind, where, printable(told), extra=extra)
