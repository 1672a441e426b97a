"""What APIs said last, where every process of this machine can read it (``budget quota``)."""

from __future__ import annotations

import atexit
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Final
from urllib.parse import quote

from budget_core.runtime.state_dir import state_dir

_PAUSE: Final = 1.0
"""Seconds from one writing to the next."""

_log = logging.getLogger("budget_core")


def folder() -> Path:
    """Return where it is: ``$XDG_STATE_HOME/budget-suite/quota``."""
    return state_dir() / "quota"


class Board:
    """Writes one file an API, from a thread of its own: no request waits for the disk."""

    def __init__(self) -> None:
        self._due: dict[str, dict[str, Any]] = {}
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closed = False

    def post(self, report: dict[str, Any]) -> None:
        with self._changed:
            self._due[report["api"]] = report
            if self._thread is None or not self._thread.is_alive():
                self._closed = False
                self._thread = Thread(target=self._write_all, name="budget-quota", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def close(self) -> None:
        """Write what is still to be written, and end the thread."""
        with self._changed:
            thread, self._closed = self._thread, True
            self._changed.notify()
        atexit.unregister(self.close)
        if thread is not None:
            thread.join()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed)
                due, self._due = self._due, {}
                if not due:
                    self._thread = None
                    return
            for report in due.values():
                _write(report)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _PAUSE)


def posted() -> Iterator[dict[str, Any]]:
    """Return what is known of each API, the last that any process put up."""
    for path in sorted(folder().glob("*.json")):
        try:
            report = json.loads(path.read_text())
        except (OSError, ValueError):  # it was removed meanwhile
            continue
        if isinstance(report, dict):
            yield report


def _write(report: dict[str, Any]) -> None:
    path = folder() / f"{quote(report['api'], safe='')}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(report))
        scratch.replace(path)
    except OSError as error:
        _log.debug("What %s said of its limits could not be written: %s", report["api"], error)
