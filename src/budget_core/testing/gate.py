"""A barrier for requests, so that tests of concurrency need no luck."""

from __future__ import annotations

import asyncio
import threading


class Gate:
    """Holds replies back until ``parties`` requests wait at it, then lets everybody through.

    Once open it stays open. It opens by itself after ``timeout`` seconds without company, and
    then says so in ``timed_out``.

    Example::

        provider.default = Reply("Hi", gate=Gate(4))  # four calls at once, or none
    """

    def __init__(self, parties: int = 1, *, timeout: float = 10.0) -> None:
        self.parties = parties
        self.timeout = timeout
        self.timed_out = False
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    @property
    def waiting(self) -> int:
        """How many requests are held back now."""
        with self._lock:
            return len(self._waiting)

    def is_set(self) -> bool:
        """Return whether the gate is open."""
        return self._is_open

    def open(self) -> None:
        """Let everybody through, from any thread."""
        with self._lock:
            self._open()

    async def passed(self) -> None:
        """Wait until the gate is open; the provider does this before it replies."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting[future] = loop
            if self._is_open or len(self._waiting) >= self.parties:
                self._open()
        try:
            async with asyncio.timeout(self.timeout):
                await future
        except TimeoutError:
            self.timed_out = True
            self.open()
        finally:
            with self._lock:
                self._waiting.pop(future, None)

    def _open(self) -> None:
        self._is_open = True
        while self._waiting:
            future, loop = self._waiting.popitem()
            loop.call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
