"""Every event as a line of JSON in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from budget_core.events.outbox import Outbox
from budget_core.events.types import Event


class JsonLines(Outbox):
    """Appends events to a file, from the background; use it as a listener.

    Several processes may write to the same file. Where it cannot be written, events are dropped,
    and logs say so.

    Args:
        path: the file; it is made if it does not exist, readable by its owner alone.
        interval: seconds between writes.
        buffer: how many events may wait; a newer one takes the place of the oldest.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interval: float = 0.5, buffer: int = 10_000
    ) -> None:
        self.path = Path(path).absolute()  # wherever the program goes from here
        self._failed = False
        super().__init__(str(self.path), batch=buffer, interval=interval, buffer=buffer)

    def __call__(self, event: Event) -> None:
        self.put(event.as_dict())

    def deliver(self, events: Sequence[str]) -> None:
        """Append a batch by one write, so that lines of several processes do not mix."""
        lines = "".join(f"{event}\n" for event in events).encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if self._failed and not self._ends_with_a_line():
                lines = b"\n" + lines
            self._failed = True
            while lines := lines[os.write(file, lines) :]:
                pass
            self._failed = False
        finally:
            os.close(file)

    def _ends_with_a_line(self) -> bool:
        """Return whether the last write, which failed, left no part of a line."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 1))
            return file.read(1) in {b"", b"\n"}
