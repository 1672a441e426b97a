"""One thread a ledger that tells it now and then that this process is alive.

A thread each, so that one ledger that does not answer keeps no other from being told.
"""

from __future__ import annotations

import logging
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol
from weakref import WeakSet, ref

from budget_core.runtime.forks import in_child

_log = logging.getLogger("budget_core")


class Beating(Protocol):
    """A ledger whose holds live as long as it is told so."""

    ttl: float

    def beat(self) -> None:
        """Renew what says that this process is alive."""


def keep_alive(ledger: Beating) -> None:
    """Tell `ledger`, from now on three times a time to live, until it is collected."""
    with _lock:
        if ledger in _told:
            return
        _told.add(ledger)
    gone: SimpleQueue[None] = SimpleQueue()  # may be filled by the garbage collector
    known = ref(ledger, lambda _: gone.put(None))
    try:
        Thread(target=_tell, args=(known, gone), name="budget-heartbeat", daemon=True).start()
    except BaseException:
        _told.discard(ledger)
        raise


def _tell(known: ref[Beating], gone: SimpleQueue[None]) -> None:
    while (ledger := known()) is not None:
        pause = ledger.ttl / 3
        del ledger
        try:
            gone.get(timeout=pause)
        except Empty:
            _beat(known())


def _beat(ledger: Beating | None) -> None:
    try:
        if ledger is not None:
            ledger.beat()
    except Exception as error:  # noqa: BLE001  it beats again
        _log.warning("The heartbeat did not reach its ledger: %s", error)


def _fresh() -> None:
    global _lock, _told
    _lock, _told = Lock(), WeakSet()


_lock: Lock
_told: WeakSet[Beating]
_fresh()
in_child(_fresh)
