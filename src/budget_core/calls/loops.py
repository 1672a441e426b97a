"""Loop detection: the same call, or the same short cycle of calls, in sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from itertools import islice, zip_longest
from operator import itemgetter
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from budget_core.errors import LoopDetected
from budget_core.runtime.signals import pass_on

if TYPE_CHECKING:
    from budget_core.calls.request import CallRequest

MAX_PERIOD: Final = 4
"""The longest cycle that is looked for: A-B-C-D-A-B-C-D…"""
MAX_SEQUENCES: Final = 500
"""Sequences that are watched at once; of more, the one that was idle longest is forgotten."""


class Pending(list[Any]):  # made without a call of Python's
    """The fingerprint of a call on its way to its hold: in flight while anything refers to this."""

    __slots__ = ("__weakref__",)


class LoopWatch:
    """Watches a session's calls for what repeats itself.

    The LLM calls and the tool calls of each agent, in each of its runs, are a sequence of their
    own, and so is what each call of a tool makes: twelve agents that read one file are no loop.

    Args:
        repeats: how often is a loop; None watches nothing.
        window: within how many seconds.
    """

    def __init__(self, repeats: int | None, window: float) -> None:
        self._pending: list[ref[Pending]] = []
        self._repeats = repeats
        self._window = window
        self._detectors: dict[Hashable, LoopDetector] = {}

    def note(
        self, call: CallRequest, flying: list[Any], inside: str | None = None
    ) -> LoopDetected | Pending | None:
        """Record a call; return the error if it is one too many in its sequence.

        Else what keeps it in flight until it is held: others may ask for the same meanwhile.

        Args:
            call: about to be made.
            flying: fingerprints of calls that are held; those of calls that will be are added.
            inside: the id of the tool's call that makes it.
        """
        if self._repeats is None or call.fingerprint is None:
            return None
        sequence, detectors = (call.kind, call.agent, call.agent_run, inside), self._detectors
        detector = detectors.pop(sequence, None)
        if detector is None:
            detector = LoopDetector(self._repeats, self._window)
        while detectors:  # the one that was idle longest comes first
            oldest = next(iter(detectors))
            idle = monotonic() - detectors[oldest].latest
            if idle <= self._window and len(detectors) < MAX_SEQUENCES:
                break
            del detectors[oldest]
        detectors[sequence] = detector
        known, self._pending = self._pending, []
        for each in known:
            if (waiting := each()) is not None:
                self._pending.append(each)
                flying += waiting
        count = detector.count(call.fingerprint, flying)
        if count is not None:
            return LoopDetected(call.name or call.model, count, detector.window)
        self._pending.append(ref(pending := Pending((call.fingerprint,))))
        return pending


class LoopDetector:
    """Notices when one sequence of calls repeats itself `repeats` times within `window` seconds.

    A call is known by its fingerprint: anything with an equality, made of the name and the
    arguments. Never the model's name alone: two hundred different calls in a minute are no loop.

    Not thread-safe: the session calls it under its lock.
    """

    def __init__(self, repeats: int, window: float) -> None:
        self.repeats = repeats
        self.window = window
        self.latest = monotonic()
        self._seen: deque[tuple[Any, float]] = deque(maxlen=MAX_PERIOD * repeats)
        self._runs = [0] * (MAX_PERIOD + 1)

    def count(self, fingerprint: Any, in_flight: Sequence[Any] = ()) -> int | None:
        """Record a call; return how often its cycle has repeated if that is a loop.

        Args:
            fingerprint: of the call about to be made.
            in_flight: fingerprints of calls that have not ended. A call that one of them equals
                is a parallel sample of the same prompt, not a repetition, and is not counted.
        """
        if in_flight and any(_same(fingerprint, in_flight)):
            return None
        self.latest = now = monotonic()
        seen, found = self._seen, None
        last = _same(fingerprint, map(itemgetter(0), islice(reversed(seen), MAX_PERIOD)))
        seen.append((fingerprint, now))
        for period, same in zip_longest(range(1, MAX_PERIOD + 1), last, fillvalue=False):
            self._runs[period] = self._runs[period] + 1 if same else 0
            cycle = period * self.repeats
            if self._runs[period] + period >= cycle and len(seen) >= cycle:
                began = seen[-cycle][1]
                if now - began <= self.window:
                    found = self.repeats
        return found


def _same(one: Any, others: Iterable[Any]) -> list[bool]:
    """Compare arguments of any kind: what cannot be compared (an array) is not the same."""
    answers = []
    for other in others:
        try:
            answers.append(bool(one == other))
        except Exception as error:  # noqa: BLE001  whatever a foreign object may raise
            pass_on(error)
            answers.append(False)
    return answers
