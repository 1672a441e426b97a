"""Waiting in a line, in a thread or a task: what waits is written once, as a generator."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from threading import RLock
from time import monotonic
from typing import Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from budget_core.runtime.background import in_asyncio, in_event_loop, in_thread
from budget_core.runtime.forks import in_child

T = TypeVar("T")
DEFAULT_WAIT: Final = 30.0
"""Seconds that a caller may wait where nothing else is said."""


FAR: Final = 8
"""Who is not first in its line looks by itself so many times less often."""
SHORTEST: Final = 0.001
"""Seconds between two looks, whatever a ledger says."""
OVERTAKEN: Final = 16
"""How many may pass one who asks for more than is free, before nobody does who could wait."""


class Watchable(Protocol):
    """What can be waited for: a ledger in which money may become free.

    Attributes:
        poll: seconds after which to look again in any case.
    """

    poll: float

    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        """Call `callback` when there may be news of `account`; return what ends that."""


class Shortage(NamedTuple):
    """What there is too little of: those who miss the same stand in one line."""

    account: str
    unit: str
    period: str | None = None


class Pause(NamedTuple):
    """Wait in the line of a shortage until there may be enough, or `seconds` have passed.

    The first pause only begins to watch, so that nothing is missed between the refusal and the
    wait.

    Attributes:
        after: seconds after which there will be more, if that is known.
        need: how much is asked for.
        room: how much there was.
        holding: whoever waits holds some of it already: to let others go first could take for ever.
    """

    watched: Watchable
    shortage: Shortage
    seconds: float
    after: float | None = None
    need: int = 0
    room: int = 0
    holding: bool = False


Steps: TypeAlias = Generator[Pause, None, T]


class _Line:
    """Those who wait for the same thing, in the order in which they came.

    News wake the first. If it gets what it asked for, or leaves, it wakes the next; if it does not,
    it wakes the first of those who ask for no more than there is. So the number of those who are
    woken grows with the number of those who come and of the news, not with their product.

    Attributes:
        news: how often there were any.
        members: those who stand here, or look just now whether they get what they need.
        awake: the tickets of those who look, or are about to.
    """

    def __init__(self, watched: Watchable, shortage: Shortage) -> None:
        self.watched = watched
        self.news = self.members = 0
        self.awake: set[int] = set()
        self._key = id(watched), shortage
        self._asleep: list[tuple[int, _Place]] = []
        self._least = 0
        self._unwatch = watched.watch(self._hear, shortage.account)

    @classmethod
    def of(cls, pause: Pause) -> _Line:
        line = _lines.get((id(pause.watched), pause.shortage))
        if line is None:
            line = cls(pause.watched, pause.shortage)
            _lines[line._key] = line
        return line

    def add(self, place: _Place) -> None:
        if not self._asleep or place.need < self._least:
            self._least = place.need
        if place.queued_in is not self:
            place.queued_in = self
            heappush(self._asleep, (place.ticket, place))

    def first(self) -> _Place | None:
        asleep = self._asleep
        while asleep:
            place = asleep[0][1]
            if place.asleep_in(self):
                return place
            heappop(asleep)
            if place.queued_in is self:
                place.queued_in = None
        return None

    def wake_first(self) -> None:
        if (first := self.first()) is not None:
            first.wake()

    def wake_within(self, room: int, need: int) -> None:
        """Wake the first who asks for no more than `room`, and for less than `need`.

        The very first of all is passed so often only by those who could wait as well.
        """
        first = self.first()
        if first is None or self._least > room or self._least >= need:
            return
        asleep = [place for _, place in self._asleep if place.asleep_in(self)]
        self._least = min(place.need for place in asleep)
        closed = first.passed >= OVERTAKEN
        fitting = [
            place
            for place in asleep
            if place.need <= room and place.need < need
            if place.holding or place is first or not closed
        ]
        if fitting:
            place = min(fitting, key=_ticket)
            first.passed += place is not first
            place.wake(passing=True)

    def end(self) -> None:
        self._asleep.clear()
        _lines.pop(self._key, None)
        self._unwatch()

    def _hear(self) -> None:
        with _lock:
            self.news += 1
            self.wake_first()


class _Place:
    """One who waits, and where it stands."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self.ticket = next(_tickets)
        self.need = self.passed = 0
        self.holding = False
        self.queued_in: _Line | None = None
        self._ring = ring
        self._line: _Line | None = None
        self._asleep = self._in_turn = False
        self._since = 0.0
        self._seen = 0
        self._until = 0.0
        self._poll = 0.0

    def asleep_in(self, line: _Line) -> bool:
        return self._asleep and self._line is line

    def wake(self, *, passing: bool = False) -> None:
        self._asleep, self._in_turn = False, not passing
        if self._line is not None:
            self._line.awake.add(self.ticket)
        self._ring()

    def stand(self, pause: Pause) -> bool:
        """Stand in a line; return whether to wait there, as there was no news since the last look.

        Whoever only comes to a line looks once more.
        """
        with _lock:
            line = _Line.of(pause)
            if line is not self._line:
                self.leave()
                line.members += 1
                self._line, self._seen = line, line.news
                return False
            if self._seen != line.news:
                self._seen = line.news
                return False
            now, poll = monotonic(), line.watched.poll
            self.need, self.holding = pause.need, pause.holding
            self._since, self._until = now, now + pause.seconds
            self._poll = poll if pause.after is None else min(poll, max(pause.after, SHORTEST))
            self._sleep(line)
            line.wake_within(pause.room, pause.need)
        return True

    def _sleep(self, line: _Line) -> None:
        self._asleep = True
        line.awake.discard(self.ticket)
        line.add(self)

    def patience(self) -> float:
        """Return the seconds to sleep: the first looks often by itself, the others hardly ever."""
        with _lock:
            mine = self._line is None or self._line.first() in {self, None}
        poll = self._poll if mine else self._poll * FAR
        return max(0.0, min(self._until - monotonic(), poll))

    def may_look(self) -> bool:
        """Return whether to look although nobody rang: its time is over, or it is the first.

        So may others, if the first has not looked for so long that its thread must stand still.
        """
        now = monotonic()
        with _lock:
            first = None if self._line is None else self._line.first()
            late = first is None or now - first._since >= self._poll * FAR / 2  # noqa: SLF001
            return now >= self._until or first is self or late

    def look(self) -> bool:
        """Sleep no more, and count no news that come from now on; unless it is another's turn.

        That of whoever came before and is awake, too: it will ring again, or nothing is left.
        """
        with _lock:
            line, in_turn = self._line, self._in_turn
            self._in_turn = False
            if line is not None:
                if in_turn and min(line.awake, default=self.ticket) < self.ticket:
                    self._sleep(line)
                    return False
                self._seen = line.news
                line.awake.add(self.ticket)
            self._asleep = False
            return True

    def leave(self) -> None:
        """Leave the line; whoever is next may get what this one did not need."""
        with _lock:
            line, self._line, self._asleep = self._line, None, False
            if line is None:
                return
            line.members -= 1
            line.awake.discard(self.ticket)
            if line.members:
                line.wake_first()
            else:
                line.end()


def _ticket(place: _Place) -> int:
    return place.ticket


_tickets = count()
_lines: dict[tuple[int, Shortage], _Line] = {}
_lock = RLock()
"""Of all lines: it is held for moments, and nothing is asked meanwhile."""


def _forked() -> None:
    global _lock  # noqa: PLW0603
    _lock = RLock()
    for line in tuple(_lines.values()):  # those who stand there wait in the parent
        line.end()


in_child(_forked)


def run(steps: Steps[T]) -> T:
    bell = threading.Event()
    place = _Place(bell.set)
    try:
        while True:
            pause = next(steps)
            looking = not place.stand(pause)
            while not looking:
                if bell.wait(place.patience()) or place.may_look():
                    bell.clear()
                    looking = place.look()
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        place.leave()
        steps.close()


async def run_async(
    steps: Steps[T], *, blocks: bool, give_back: Callable[[T], object] = lambda _: None
) -> T:
    """Run in this task, which awaits.

    Args:
        steps: what is run.
        blocks: take each step in a thread.
        give_back: called with an answer that came when the task had been cancelled. A task of trio
            is cancelled when the wait is over.
    """
    if not in_asyncio():
        return await in_thread(partial(run, steps))
    bell = asyncio.Event()
    place = _Place(_ringer(asyncio.get_running_loop(), bell))
    try:
        while True:
            step = await _Errand(steps, give_back).run() if blocks else _next(steps)
            if not isinstance(step, Pause):
                return step[0]
            looking = not place.stand(step)
            while not looking:
                if await _rung(bell, place.patience()) or place.may_look():
                    bell.clear()
                    looking = place.look()
    finally:
        place.leave()
        if not blocks:  # else a worker thread may be in the middle of a step
            steps.close()


class _Errand(Generic[T]):
    """One step, taken in a worker thread.

    The thread goes on when the task that awaits it is cancelled. Then the one that comes last, the
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


async def _rung(bell: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await bell.wait()
    except TimeoutError:
        return False


def default_wait() -> float:
    """Return how long a synchronous caller may wait: not at all where an event loop would stop."""
    return 0.0 if in_event_loop() else DEFAULT_WAIT
