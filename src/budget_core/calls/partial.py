"""How much of an answer can have been written when it was broken off, and is billed."""

from __future__ import annotations

from typing import Final

ON_THE_WAY: Final = 2.0
"""Seconds that a provider may go on writing, at its own pace, before it sees that nobody reads."""
LEAST_ON_THE_WAY: Final = 64
"""Tokens that may be on the way in any case."""
UNSEEN_PACE: Final = 250
"""Tokens a second of an answer of which nothing was seen: more than large models write."""
HIDDEN_PACE: Final = 5_000
"""Tokens a second of thoughts that are billed and not shown: beyond the fastest servers."""
_SHORTEST: Final = 0.1
"""Seconds: pieces that come within less came out of a buffer, and tell no pace."""


def pace_of(pieces: int, seconds: float) -> float:
    """Return the tokens a second at which pieces of an answer came."""
    return pieces / max(seconds, _SHORTEST)


def written(seen: int, pace: float, seconds: float, *, hidden: bool) -> int:
    """Return the most tokens that can have been written of an answer, all in all.

    Args:
        seen: bytes of it that arrived: a token has one at least.
        pace: tokens a second at which they came.
        seconds: since it was asked for.
        hidden: thoughts may have been written besides.
    """
    if hidden:
        return seen + int((seconds + ON_THE_WAY) * HIDDEN_PACE)
    if not seen:
        return int((seconds + ON_THE_WAY) * UNSEEN_PACE)
    return seen + max(LEAST_ON_THE_WAY, int(pace * ON_THE_WAY))
