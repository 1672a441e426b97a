"""Waiting in a thread or a task: what waits is written once, as a generator of pauses."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
DEFAULT_WAIT: Final = 30.0
"""Seconds that a caller may wait where nothing else is said."""


class Watchable(Protocol):
    """What can be waited for: a ledger in which money may become free.

    Attributes:
        poll: seconds after which to look again in any case.
    """

    poll: float

    def watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` when there may be news; return what ends that."""


class Pause(NamedTuple):
    """Wait until one of `watched` may have news, or `seconds` have passed.

    The first pause only starts to watch, so that nothing is missed between the refusal and the
    wait.
    """

    watched: tuple[Watchable, ...]
    seconds: float


Steps: TypeAlias = Generator[Pause, None, T]


def run(steps: Steps[T]) -> T:
    bell: threading.Event | None = None
    unwatch: list[Callable[[], None]] = []
    try:
        while True:
            pause = next(steps)
            if bell is None:
                bell = threading.Event()
                unwatch = [one.watch(bell.set) for one in pause.watched]
            else:
                bell.wait(_patience(pause))
                bell.clear()
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        for end in unwatch:
            end()


async def run_async(
    steps: Steps[T], *, blocks: bool, give_back: Callable[[T], object] = lambda _: None
) -> T:
    """Run in this task, which awaits.

    Args:
        steps: what is run.
        blocks: take each step in a thread.
        give_back: called with an answer that came when the task had been cancelled.
    """
    bell: asyncio.Event | None = None
    unwatch: list[Callable[[], None]] = []
    loop = asyncio.get_running_loop()
    try:
        while True:
            step = await _Errand(steps, give_back).run() if blocks else _next(steps)
            if not isinstance(step, Pause):
                return step[0]
            if bell is None:
                bell = asyncio.Event()
                ring = _ringer(loop, bell)
                unwatch = [one.watch(ring) for one in step.watched]
            else:
                await _heard(bell, _patience(step))
                bell.clear()
    finally:
        if not blocks:  # else a worker thread may be in the middle of a step
            steps.close()
        for end in unwatch:
            end()


class _Errand(Generic[T]):
    """One step, taken in a worker thread.

    The thread goes on when the task that awaits it is cancelled. Then whoever comes last, the
    thread or the task, gives back what the step has got.
    """

    def __init__(self, steps: Steps[T], give_back: Callable[[T], object]) -> None:
        self._steps = steps
        self._given_back = give_back
        self._lock = threading.Lock()
        self._step: Pause | tuple[T] | None = None
        self._abandoned = False

    async def run(self) -> Pause | tuple[T]:
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        try:
            return await loop.run_in_executor(None, context.run, self._take)
        except asyncio.CancelledError:
            with self._lock:
                self._abandoned, step = True, self._step
            if step is not None:
                loop.run_in_executor(None, context.copy().run, self._give_back, step)
            raise

    def _take(self) -> Pause | tuple[T]:
        if self._abandoned:
            self._steps.close()
            raise asyncio.CancelledError
        step = _next(self._steps)
        with self._lock:
            self._step, abandoned = step, self._abandoned
        if abandoned:
            self._give_back(step)
        return step

    def _give_back(self, step: Pause | tuple[T]) -> None:
        self._steps.close()
        if not isinstance(step, Pause):
            self._given_back(step[0])


def _next(steps: Steps[T]) -> Pause | tuple[T]:
    try:
        return next(steps)
    except StopIteration as done:
        return (done.value,)


def _ringer(loop: asyncio.AbstractEventLoop, bell: asyncio.Event) -> Callable[[], object]:
    def ring() -> None:
        # the loop may have been closed while a ledger was about to ring
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(bell.set)

    return ring


async def _heard(bell: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        pass


def _patience(pause: Pause) -> float:
    return max(0.0, min(pause.seconds, *(one.poll for one in pause.watched)))


def default_wait() -> float:
    """Return how long a synchronous caller may wait: not at all where an event loop would stop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return DEFAULT_WAIT
    return 0.0
