"""The write lock of a SQLite file: that of a file beside it."""

from __future__ import annotations

import os
import random
from pathlib import Path
from time import monotonic, sleep

from budget_core.errors import LedgerUnavailable

try:
    import fcntl
except ImportError:  # pragma: no cover  there, SQLite's own lock has to do
    fcntl = None  # type: ignore[assignment]


class WriteLock:
    """One process writes at a time; those that wait try again at random, so that all get it.

    SQLite's own way of waiting, longer and longer, starves processes.
    """

    _file = -1

    def __init__(self, path: Path, wait: float) -> None:
        self._path = path
        self._wait = wait
        self._file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)

    def acquire(self) -> None:
        """Wait for the lock.

        Raises:
            LedgerUnavailable: another process held it for too long.
        """
        until = 0.0
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                until = until or monotonic() + self._wait
                if monotonic() > until:
                    reason = f"{self._path}: another process has been writing for {self._wait} s"
                    raise LedgerUnavailable(reason) from None
                sleep(random.uniform(0.000_1, 0.002))  # noqa: S311  no secret
            else:
                return

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    __del__ = close


__all__ = ["WriteLock", "fcntl"]
