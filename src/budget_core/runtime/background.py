"""What may block on I/O: never in an event loop, but in a thread.

What need not be waited for is done in order, by one thread, before the program ends. Whoever reads
a balance, or opens a call, waits for it first.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock, get_ident
from typing import Any, TypeVar

from budget_core.runtime.forks import in_child

T = TypeVar("T")
_log = logging.getLogger("budget_core")
_lock = Lock()
_pool: ThreadPoolExecutor | None = None
_pending: deque[Future[None]] = deque()
_worker: int | None = None


def in_asyncio() -> bool:
    """Return whether this thread runs an event loop of asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def in_event_loop() -> bool:
    """Return whether this thread runs an event loop, asyncio's or trio's: none must be stopped."""
    trio: Any = sys.modules.get("trio")
    return in_asyncio() or (trio is not None and trio.lowlevel.in_trio_run())


async def in_thread(action: Callable[[], T]) -> T:
    """Return what `action` does in a thread, on asyncio or trio; there it ends before its task."""
    if in_asyncio():
        return await asyncio.to_thread(action)
    from anyio import to_thread  # noqa: PLC0415  the SDKs that run on trio have it

    return await to_thread.run_sync(action)


def told(action: Callable[[], object], *, blocks: bool) -> None:
    """Do `action`; where it `blocks` and this thread runs an event loop, in the background."""
    if blocks and in_event_loop():
        behind(action)
    else:
        action()


async def asked(action: Callable[[], T], *, blocks: bool) -> T:
    """Return what `action` does; where it `blocks` an event loop, in a thread."""
    return await in_thread(action) if blocks and in_event_loop() else action()


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
    except Exception:  # noqa: BLE001  there is no caller left to be told
        _log.exception("What a call came to could not be told to its ledger")


def _fresh() -> None:
    global _lock, _pool, _worker
    _lock, _pool, _worker = Lock(), None, None
    _pending.clear()


in_child(_fresh)
