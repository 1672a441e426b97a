"""Telling a ledger that blocks what a call came to, without stopping the event loop.

What is told this way is told in order, by one thread, before the program ends. Whoever reads a
balance, or opens a call, waits for it first.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock, get_ident

from budget_core.runtime.forks import in_child

_log = logging.getLogger("budget_core")
_lock = Lock()
_pool: ThreadPoolExecutor | None = None
_pending: deque[Future[None]] = deque()
_worker: int | None = None


def in_event_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not be stopped."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def behind(action: Callable[[], object]) -> None:
    """Do `action` in a thread, after those before it; what it raises is logged."""
    global _pool  # noqa: PLW0603
    with _lock:  # the loops of several threads
        if _pool is None:
            _pool = ThreadPoolExecutor(1, "budget-ledger")
        while _pending and _pending[0].done():
            _pending.popleft()
        _pending.append(_pool.submit(contextvars.copy_context().run, _do, action))


def drain() -> None:
    """Wait until all that was asked for is done; not in the thread that does it."""
    if _pending and get_ident() != _worker:
        wait(tuple(_pending))


def _do(action: Callable[[], object]) -> None:
    global _worker  # noqa: PLW0603
    _worker = get_ident()
    try:
        action()
    except Exception:  # noqa: BLE001  nobody is left to be told
        _log.exception("What a call came to could not be told to its ledger")


def _fresh() -> None:
    global _lock, _pool, _worker
    _lock, _pool, _worker = Lock(), None, None
    _pending.clear()


in_child(_fresh)

__all__ = ["behind", "drain", "in_event_loop"]
