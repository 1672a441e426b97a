"""Anomalies: a session that behaves as it never did before, by its own measure.

===================  =====================================================  ====================
spend_velocity       dollars in a minute                                    4 times as many
context_growth       input tokens that a call has more than the last one    8 times, and it lasts
retry_amplification  share of the last 20 LLM calls that failed             3 times, and half
tool_repetition      share of the last 20 tool calls that others repeat     3 times, and 7 in 10
===================  =====================================================  ====================

Each is told once, until it is back at what is usual. What lasts becomes usual.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from budget_core.money.usd import to_usd

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall

_MINUTE: Final = 60.0
_WINDOW: Final = 20
"""Calls whose shares are compared with those of all before them."""
_PEAKS: Final = 2
"""Times of the largest value that was usual, which a value has to be above."""
_LEAST_GROWTH: Final = 4_096
"""Tokens; a context that grows by less is no reason to stop a session."""
_AGENTS: Final = 64
"""Agents and models whose context is followed, the latest ones."""


class Anomaly(NamedTuple):
    """A figure that left its baseline."""

    what: str
    value: float
    usual: float


class Anomalies:
    """Watches one session's calls as they end. Thread-safe.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = RLock()  # a finalizer may settle a call in here
        self._velocity = _Usual(least=5, times=4)
        self._growth = _Usual(least=8, times=8)
        self._failures = _Share(at_least=0.5, times=3)
        self._repeats = _Share(at_least=0.7, times=3)
        self._minute, self._spent = 0.0, 0
        self._contexts: dict[tuple[str | None, str], tuple[int, Anomaly | None]] = {}
        self._tools: deque[Hashable] = deque(maxlen=_WINDOW)
        self._told: set[str] = set()

    def settled(self, call: PaidCall) -> list[Anomaly]:
        """Record a call that was paid for; return what left its baseline with it."""
        with self._lock:
            found = [self._velocity_with(call.cost)]
            if call.kind == "llm":
                found.append(self._failures.note("retry_amplification", hit=False))
                if call.usage is not None:
                    found.append(self._growth_to(call, call.usage.input))
            elif call.request.fingerprint is not None:
                key = _key(call.request.fingerprint)
                found.append(self._repeats.note("tool_repetition", hit=key in self._tools))
                self._tools.append(key)
            return self._news(found)

    def failed(self, call: PaidCall) -> list[Anomaly]:
        """Record a call that brought nothing, and cost nothing."""
        with self._lock:
            if call.kind != "llm":
                return []
            return self._news([self._failures.note("retry_amplification", hit=True)])

    def _velocity_with(self, cost: int) -> Anomaly | str:
        now = self._clock()
        if now - self._minute >= _MINUTE:
            if self._spent:
                self._velocity.learn(self._spent)
            self._minute, self._spent = now, 0
        self._spent += cost
        usual = self._velocity.left_by(self._spent)
        if usual is None:
            return "spend_velocity"
        return Anomaly("spend_velocity", to_usd(self._spent), to_usd(round(usual)))

    def _growth_to(self, call: PaidCall, tokens: int) -> Anomaly | str:
        who = (call.request.agent, call.request.model)
        before, leap = self._contexts.pop(who, (tokens, None))
        growth = tokens - before
        usual = self._growth.left_by(growth)
        leaps = usual is not None and growth >= max(_LEAST_GROWTH, before)
        found = Anomaly("context_growth", growth, usual or 0.0) if leaps else None
        self._contexts[who] = tokens, found  # the latest stand last
        if len(self._contexts) > _AGENTS:
            del self._contexts[next(iter(self._contexts))]
        if growth > 0:
            self._growth.learn(growth)
        # one large prompt, as of a last summary, is no anomaly: a context that stays so is
        return "context_growth" if leap is None or 2 * tokens <= before else leap

    def _news(self, found: list[Anomaly | str]) -> list[Anomaly]:
        """Return what was not told yet; what is usual again may be told again."""
        news = []
        for one in found:
            if isinstance(one, str):
                self._told.discard(one)
            elif one.what not in self._told:
                self._told.add(one.what)
                news.append(one)
        return news


class _Usual:
    """What a figure usually is: a mean in which older values count less and less, and a peak."""

    def __init__(self, *, least: int, times: float) -> None:
        self._least, self._times = least, times
        self._seen, self._mean, self._peak = 0, 0.0, 0.0

    def left_by(self, value: float) -> float | None:
        """Return what was usual, if enough was seen and `value` is far above it."""
        above = value > max(self._times * self._mean, _PEAKS * self._peak)
        return self._mean if above and self._seen >= self._least else None

    def learn(self, value: float) -> None:
        """Record a value; one that is far out counts as the most that is not."""
        self._seen += 1
        if self._seen > self._least and value > self._times * self._mean:
            value = self._times * self._mean
        else:
            self._peak = max(self._peak, value)
        self._mean += (value - self._mean) / min(self._seen, 2 * self._least)


class _Share:
    """What share of the last calls were hits, beside that of all before them."""

    def __init__(self, *, at_least: float, times: float) -> None:
        self._at_least, self._times = at_least, times
        self._last: deque[bool] = deque(maxlen=_WINDOW)
        self._before = self._hits_before = 0

    def note(self, what: str, *, hit: bool) -> Anomaly | str:
        """Record a call; return the anomaly that the last ones are, else its name."""
        if len(self._last) == _WINDOW:
            self._before += 1
            self._hits_before += self._last[0]
        self._last.append(hit)
        share = sum(self._last) / _WINDOW
        if self._before < _WINDOW or share < self._at_least:
            return what
        usual = self._hits_before / self._before
        return Anomaly(what, share, usual) if share > self._times * usual else what


def _key(fingerprint: Any) -> Hashable:
    try:
        return hash(fingerprint)
    except TypeError:  # arguments are lists and dicts
        return hash(repr(fingerprint))
