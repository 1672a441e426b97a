"""One thread a process that tells its ledgers now and then that this process is alive."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Protocol
from weakref import WeakSet

_log = logging.getLogger("budget_core")


class Beating(Protocol):
    """A ledger whose holds live as long as it is told so."""

    ttl: float

    def beat(self) -> None:
        """Renew what says that this process is alive."""


class Heartbeat:
    """Tells every ledger that was added, three times a time to live, until it is collected."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ledgers: WeakSet[Beating] = WeakSet()
        self._thread: Thread | None = None
        self._bell = Event()

    def add(self, ledger: Beating) -> None:
        """Begin to tell `ledger`."""
        with self._lock:
            if ledger in self._ledgers and self._thread is not None:
                return
            self._ledgers.add(ledger)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="budget-heartbeat", daemon=True)
                self._thread.start()
        self._bell.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                ledgers = list(self._ledgers)
                if not ledgers:
                    self._thread = None
                    return
            for ledger in ledgers:
                _tell(ledger.beat)
            pause = min(ledger.ttl for ledger in ledgers) / 3
            del ledgers, ledger
            self._bell.wait(pause)
            self._bell.clear()


def _tell(beat: Callable[[], None]) -> None:
    try:
        beat()
    except Exception as error:  # noqa: BLE001  it beats again
        _log.warning("The heartbeat did not reach its ledger: %s", error)


def _fresh() -> None:
    global heartbeat  # noqa: PLW0603
    heartbeat = Heartbeat()


heartbeat: Heartbeat
_fresh()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh)


def keep_alive(ledger: Beating) -> None:
    """Let this process's heartbeat tell `ledger`, too."""
    heartbeat.add(ledger)


__all__ = ["keep_alive"]
