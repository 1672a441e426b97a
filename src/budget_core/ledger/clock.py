"""The time, as ledgers read it."""

from __future__ import annotations

from time import monotonic, time
from typing import Final


class Clock:
    """The clock of this machine; a test may pass one of its own as ``clock=``."""

    def now(self) -> float:
        return time()

    def uptime(self) -> float:
        """Return the machine's uptime: the same in all its processes, and never set."""
        return monotonic()


SYSTEM: Final = Clock()
