"""Loop detection: the same call, or the same short cycle of calls, in sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

MAX_PERIOD: Final = 4
"""The longest cycle that is looked for: A-B-C-D-A-B-C-D…"""


class LoopDetector:
    """Notices when one sequence of calls repeats itself `repeats` times within `window` seconds.

    A call is known by its fingerprint: anything with an equality, made of the name and the
    arguments. Never the model's name alone: two hundred different calls in a minute are no loop.

    Not thread-safe: the session calls it under its lock.
    """

    def __init__(self, repeats: int, window: float) -> None:
        self.repeats = repeats
        self.window = window
        self._seen: deque[tuple[Any, float]] = deque(maxlen=MAX_PERIOD * repeats)
        self._runs = [0] * (MAX_PERIOD + 1)

    def count(self, fingerprint: Any, in_flight: Iterable[Any] = ()) -> int | None:
        """Take note of a call; return how often its cycle has repeated if that is a loop.

        Args:
            fingerprint: of the call about to be made.
            in_flight: fingerprints of calls that have not ended. A call that one of them equals
                is a parallel sample of the same prompt, not a repetition, and is not counted.
        """
        if any(_same(fingerprint, other) for other in in_flight):
            return None
        now = monotonic()
        seen = self._seen
        for period in range(1, MAX_PERIOD + 1):
            same = len(seen) >= period and _same(seen[-period][0], fingerprint)
            self._runs[period] = self._runs[period] + 1 if same else 0
        seen.append((fingerprint, now))
        return self._loop(now)

    def _loop(self, now: float) -> int | None:
        for period in range(1, MAX_PERIOD + 1):
            cycle = period * self.repeats
            if self._runs[period] + period >= cycle and len(self._seen) >= cycle:
                began = self._seen[-cycle][1]
                if now - began <= self.window:
                    return self.repeats
        return None


def _same(one: Any, other: Any) -> bool:
    """Compare arguments of any kind: what cannot be compared (an array) is not the same."""
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  whatever a foreign object's comparison may raise
        return False
