"""A bounded queue that a thread of its own empties: putting something in never waits."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from threading import Condition, Event, Thread
from time import monotonic, sleep
from typing import Any, Final, NamedTuple
from weakref import WeakSet

from budget_core.events.encoding import to_json

EXIT_SECONDS: Final = 3.0
"""How long a process that ends waits for all its outboxes together."""

_LINGER: Final = 2.0
"""Seconds after which a thread without work ends; the next event starts another."""

_AT_ONCE: Final = 8
"""Events that are written as JSON before other threads have a turn."""

_log = logging.getLogger("budget_core")
_all: WeakSet[Outbox] = WeakSet()


class Counts(NamedTuple):
    """What became of the events that were put; ``sent + dropped + waiting`` are all of them.

    Attributes:
        sent: were taken by the receiver.
        dropped: gave way to newer ones, or were refused, or failed in every attempt.
        waiting: in the buffer, or on their way.
        retried: attempts after a first one, each of them with a whole batch.
    """

    sent: int
    dropped: int
    waiting: int
    retried: int


class Outbox(ABC):
    """Hands events to `deliver` in batches, in order, from a thread that lives while it has work.

    A full buffer drops its oldest event. A forked child begins with an empty one: what waits is
    its parent's to send. A process that ends takes `EXIT_SECONDS` at most to send what is left.

    Args:
        where: what logs say of the receiver; it must not tell secrets.
        batch: how many events at most are delivered together.
        interval: seconds to wait for a batch to fill; 0 delivers at once.
        buffer: how many events may wait.

    Raises:
        ValueError: `batch` or `buffer` is less than one.
    """

    def __init__(self, where: str, *, batch: int, interval: float, buffer: int) -> None:
        if min(batch, buffer) < 1:
            raise ValueError(f"batch= and buffer= are 1 or more; got {batch} and {buffer}.")
        self.where = where
        self._batch, self._interval, self._buffer = min(batch, buffer), interval, buffer
        self._closed = False
        self._begin()
        _all.add(self)

    @abstractmethod
    def deliver(self, events: Sequence[str]) -> None:
        """Deliver a batch, in the outbox's thread; what it raises drops the batch.

        Args:
            events: each as JSON.
        """

    def describe(self, error: BaseException) -> str:
        """Say what went wrong, without the error's own text: that may tell secrets."""
        return type(error).__name__

    def put(self, event: Mapping[str, Any]) -> None:
        """Queue an event, which must not change any more; after `close` it is dropped."""
        with self._changed:
            if self._closed:
                self._dropped += 1
                return
            if len(self._events) >= self._buffer:
                self._events.popleft()
                self._dropped += 1
            self._events.append(event)
            if self._started() and len(self._events) in {1, self._batch}:
                self._changed.notify_all()

    def flush(self, timeout: float | None = 5.0) -> bool:
        """Deliver now what was put so far; True if nothing of it waits any more.

        Args:
            timeout: seconds to wait, None for as long as it takes.
        """
        with self._changed:
            asked = self._ended() + self._waiting()
            self._hasten()
            alone = self._events and not self._started()
        try:
            if alone:
                self._run_here(timeout)
            with self._changed:
                return self._changed.wait_for(lambda: self._done() >= asked, timeout)
        finally:
            with self._changed:
                self._hurried -= 1

    def close(self, timeout: float | None = 5.0) -> bool:
        """Flush, then drop what is left and take nothing more; True if nothing was left.

        Args:
            timeout: seconds to wait, None for as long as it takes.
        """
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._dropped += len(self._events)
            self._events.clear()
            self._stop.set()
            self._changed.notify_all()
        return done

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        with self._changed:
            return Counts(self._sent, self._dropped, self._waiting(), self._retried)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where} {self.counts}>"

    # -- inside ------------------------------------------------------------------------------

    def _begin(self) -> None:
        # reentrant, as all conditions are: a finalizer may put something while we do
        self._changed = Condition()
        self._stop = Event()
        self._events: deque[Mapping[str, Any]] = deque()
        self._sent = self._dropped = self._retried = self._flying = self._hurried = 0
        self._flying_from = 0
        self._failing = False
        self._thread: Thread | None = None

    def _waiting(self) -> int:
        return len(self._events) + self._flying

    def _ended(self) -> int:
        return self._sent + self._dropped

    def _done(self) -> int:
        """Count the events that were put before the oldest one that waits."""
        return self._flying_from if self._flying else self._ended()

    def _hasten(self) -> None:
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()

    def _started(self) -> bool:
        if self._thread is None:
            thread = Thread(target=self._run, name="budget-events", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or there are too many threads
                return False
            self._thread = thread
            if _home != _here():
                _close_all_at_exit()
        return True

    def _run_here(self, timeout: float | None) -> None:
        """Make one attempt where no thread can be started, as where the interpreter ends."""
        self._stop.set()
        self._run(inf if timeout is None else monotonic() + timeout)
        self._stop.clear()

    def _run(self, until: float = inf) -> None:
        while monotonic() < until and (events := self._next()):
            told = [*_as_json(events)]
            failure: BaseException | None = None
            try:
                if told:
                    self.deliver(told)
            except BaseException as error:  # noqa: BLE001  whatever a receiver may do
                failure = error
            self._note(len(told) if failure is None else 0, len(events), failure)

    def _next(self) -> list[Mapping[str, Any]]:
        """Wait for a batch and take it; an empty one ends the thread."""
        with self._changed:
            if not self._stop.is_set():
                self._changed.wait_for(lambda: self._events or self._closed, _LINGER)
            if self._events and self._interval:
                self._changed.wait_for(self._is_due, self._interval)
            events = [self._events.popleft() for _ in range(min(self._batch, len(self._events)))]
            self._flying_from = self._ended()
            self._flying += len(events)
            if not events:
                self._thread = None
            return events

    def _is_due(self) -> bool:
        return self._hurried > 0 or self._closed or len(self._events) >= self._batch

    def _note(self, sent: int, of: int, error: BaseException | None) -> None:
        with suppress(Exception):  # of a program's handlers: the thread must not end by them
            self._log(error)
        with self._changed:
            self._sent += sent
            self._dropped += of - sent
            self._flying -= of
            self._changed.notify_all()

    def _log(self, error: BaseException | None) -> None:
        before, self._failing = self._failing, error is not None
        if error is not None and not before:  # once, however long it lasts
            _log.warning("Events do not reach %s: %s", self.where, self.describe(error))
        elif error is None and before:
            _log.warning("Events reach %s again; %d were dropped", self.where, self._dropped)


def _as_json(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write events; one that cannot be written is lost alone."""
    for number, event in enumerate(events):
        if number % _AT_ONCE == 0:
            sleep(0)  # lets other threads run: a call shall not wait until a whole batch is written
        try:
            yield to_json(event)
        except BaseException as error:  # noqa: BLE001  whatever is in it
            with suppress(Exception):
                _log.warning("An event cannot be written as JSON: %s", type(error).__name__)
    sleep(0)


def _close_all() -> None:
    until, boxes = monotonic() + EXIT_SECONDS, list(_all)
    for box in boxes:
        box._hasten()  # noqa: SLF001  all at the same time
    for box in boxes:
        box.close(max(0.0, until - monotonic()))


def _here() -> tuple[int, bool]:
    """Return this process, and whether it is one of multiprocessing by now."""
    mp = sys.modules.get("multiprocessing")
    return os.getpid(), mp is not None and mp.parent_process() is not None


def _close_all_at_exit() -> None:
    global _home  # noqa: PLW0603
    _home = _, child = _here()
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    if child:  # such a process skips atexit, and forgets what its parent registered
        sys.modules["multiprocessing"].util.Finalize(None, _close_all, exitpriority=0)


def _fresh() -> None:
    for box in tuple(_all):
        box._begin()  # noqa: SLF001


_home: tuple[int, bool]
_close_all_at_exit()  # now, so that it comes after those of most others
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh)
