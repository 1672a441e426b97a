"""Acting on what was dropped: streams, generators, clients and sessions that were not ended.

No Python of ours runs in a garbage collection if it can be helped: what a signal's handler raises
there (Ctrl-C, a time limit) is lost, and a collection may begin at any point of any thread, inside
our own locks, too. So what is dropped is queued by C code alone, and the next that is asked of a
session does what was queued. What runs there all the same, as others want it, may only queue.
"""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from budget_core.runtime.signals import is_from_signal

_log = logging.getLogger("budget_core")
_queue: deque[Callable[[], object]] = deque()
_dropped: deque[weakref.ref[Any]] = deque()
_actions: Final[dict[int, tuple[weakref.ref[Any], Callable[[], object]]]] = {}
_DEEPEST: Final = 24
"""Functions through which a destructor gets to us at most."""
_FINALIZE: Final = weakref.finalize.__call__.__code__


def when_dropped(thing: object, action: Callable[[], object]) -> None:
    """Queue `action`, which does not refer to `thing`, when that is collected."""
    gone = weakref.ref(thing, _dropped.append)
    _actions[id(gone)] = gone, action


class Ender:
    """Stands in a generator's frame for what ends with it, however it goes.

    The ``finally`` of one that is dropped half-way is Python in a finalizer.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, action: Callable[[], object]) -> None:
        when_dropped(self, action)


def collecting() -> bool:
    """Return whether this code may run in a garbage collection, and may only queue.

    It may where a generator is being closed, or a ``__del__`` or a finalizer runs.
    """
    error = sys.exception()
    while error is not None:
        if isinstance(error, GeneratorExit):
            return not _can_collect()
        error = error.__context__
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    for _ in range(_DEEPEST):
        if frame is None:
            return False
        if frame.f_code.co_name == "__del__" or frame.f_code is _FINALIZE:
            return not _can_collect()
        frame = frame.f_back
    return False


def later(action: Callable[[], object]) -> None:
    """Queue what a finalizer must not do itself."""
    _queue.append(action)


def reap() -> None:
    while _dropped or _queue:
        if collecting():
            return
        try:
            action = _actions.pop(id(_dropped.popleft()))[1] if _dropped else _queue.popleft()
        except IndexError:  # another thread was quicker
            continue
        try:
            action()
        except BaseException as error:
            if not isinstance(error, Exception) or is_from_signal(error):
                _queue.append(action)
                raise
            _log.exception("What a finalizer asked for could not be done")


class _Canary:
    __slots__ = ("__weakref__", "itself")

    def __init__(self) -> None:
        self.itself = self


def _can_collect() -> bool:
    """Return whether no collection is under way: in one, another one does nothing."""
    alive = weakref.ref(_Canary())
    gc.collect(0)
    return alive() is None
