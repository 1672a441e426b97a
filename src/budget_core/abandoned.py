"""Calls whose stream was dropped without being read or closed.

A finalizer may run at any point of any thread, inside our own locks too, so it may only queue;
whoever next asks a session for anything settles what was queued.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budget_core.call import Call

_queue: deque[Call] = deque()


def abandon(call: Call) -> None:
    """Queue a call that nobody will end; safe in finalizers."""
    _queue.append(call)


def reap() -> None:
    """Settle what was abandoned, as unknown: its answer may have been billed in full."""
    while _queue:
        try:
            call = _queue.popleft()
        except IndexError:
            return
        call.settle(None)
