"""Ending calls from finalizers: streams and generators that were dropped half-way.

The garbage collector may run them at any point of any thread, inside our own locks too, so there
they may only queue. Whoever next asks a session for anything does what was queued.
"""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

_log = logging.getLogger("budget_core")
_queue: deque[Callable[[], object]] = deque()
_collecting: int | None = None


def collecting() -> bool:
    """Tell whether this code runs in the garbage collector."""
    return _collecting == get_ident()


def later(action: Callable[[], object]) -> None:
    """Queue what a finalizer must not do itself."""
    _queue.append(action)


def reap() -> None:
    """Do what was queued."""
    while _queue and not collecting():
        try:
            action = _queue.popleft()
        except IndexError:  # another thread was quicker
            return
        try:
            action()
        except Exception:  # noqa: BLE001  it is nobody's in particular
            _log.exception("What a finalizer asked for could not be done")


def _note(phase: str, _info: dict[str, Any]) -> None:
    global _collecting  # noqa: PLW0603
    _collecting = get_ident() if phase == "start" else None


gc.callbacks.append(_note)
