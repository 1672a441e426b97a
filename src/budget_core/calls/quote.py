"""What a call may cost at worst, and how much of it to hold."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from budget_core.ledger import Headroom
from budget_core.money.amounts import Amounts
from budget_core.money.prices.output_limits import (
    DEFAULT_MAX_OUTPUT,
    is_reasoning,
    known_max_output,
)
from budget_core.money.prices.rates import Rates

COMFORTABLE: Final = 2_048
COMFORTABLE_REASONING: Final = 8_192
USEFUL: Final = 256
"""An answer may be cut to this many tokens before the call is refused instead."""
_MILLION: Final = 1_000_000


class Quote(NamedTuple):
    """A call's worst case.

    Attributes:
        rates: its price, None for a model that is allowed to run unpriced.
        input_tokens: the most it can be billed for as input.
        input_cost: what that is, in nanos.
        output_rate: nanos for a million output tokens.
        most: the most output tokens, all `n` answers together.
        comfortable: output tokens below which no answer should have to be cut.
        useful: output tokens below which an answer is not worth its call.
        capped: `most` is the caller's own cap, not the model's maximum.
        n: how many answers are asked for.
        one_hour: it may write to a cache for an hour.
        guessed: nobody knows the model's maximum.
    """

    rates: Rates | None
    input_tokens: int
    input_cost: int
    output_rate: int
    most: int
    comfortable: int
    useful: int
    capped: bool
    n: int = 1
    one_hour: bool = False
    guessed: bool = False

    def amounts(self, output: int) -> Amounts:
        cost = self.input_cost - (-output * self.output_rate // _MILLION)  # rounded up
        return tuple.__new__(Amounts, (cost, self.input_tokens + output, 1, 0))

    def output_for(self, room: Headroom | Amounts) -> float:
        """Return the most output tokens that `room` pays for; negative if not even the input."""
        most = math.inf
        if room.usd is not None and self.rates is not None:
            left = room.usd - self.input_cost
            if left < 0:
                return -1
            if self.output_rate:
                most = left * _MILLION // self.output_rate
        if room.tokens is not None:
            most = min(most, room.tokens - self.input_tokens)
        return most

    def share(self, room: Headroom) -> int:
        """Return the output to hold while there is room: half of it, at least a comfortable answer.

        A caller's own cap is held exactly. So many calls run at full width, slow down near the
        limit, and none holds a model's whole maximum that it will not use.
        """
        if self.capped:
            return self.most
        half = self.output_for(room) / 2  # infinite where nothing limits it
        return int(min(self.most, max(half, self.comfortable)))

    def squeezed(self, room: Headroom, least: int = 0) -> int | None:
        """Return the output to which the last answer is cut, or None if that is too short.

        Args:
            room: what is left.
            least: tokens that one answer is likely to need.
        """
        fits = self.output_for(room)
        return int(min(fits, self.most)) if fits >= self.least(least) else None

    def least(self, likely: int) -> int:
        """Return the output below which a call is refused whose answer has `likely` tokens."""
        return max(self.useful, min(likely * self.n, self.most))


def quote(
    model: str,
    rates: Rates | None,
    *,
    input_tokens: int,
    output_cap: int | None,
    ceiling: int | None = None,
    least: int = 0,
    n: int = 1,
    longest: int = 0,
    one_hour: bool = False,
    beside: int = 0,
) -> Quote:
    """Return a call's worst case.

    Args:
        model: as the caller names it.
        rates: its price, None if it runs unpriced.
        input_tokens: a bound on its input.
        output_cap: the caller's own cap on one answer, None if there is none.
        ceiling: what an answer cannot exceed in any case, although its caller asked for no cap.
        least: an answer shorter than this is of no use.
        n: how many answers are asked for.
        longest: the longest answer seen from this model, in tokens.
        one_hour: it may write to a cache for an hour.
        beside: output tokens that may be billed beyond the cap.
    """
    if output_cap is not None and output_cap < 0:
        output_cap = None  # some servers read -1 as "no cap"
    n = max(1, n)
    most = known_max_output(model) if output_cap is None else output_cap
    if guessed := most is None:
        most = DEFAULT_MAX_OUTPUT
    if ceiling is not None and output_cap is None:
        most = min(most, ceiling)
    comfortable = COMFORTABLE_REASONING if is_reasoning(model) else COMFORTABLE
    comfortable = max(comfortable, 2 * longest)
    input_cost = output_rate = 0
    if rates is not None:
        dearest = rates.dearest or rates  # it may end at another time of the day than it began
        # inline audio is bounded by its bytes, far above its tokens at any audio price
        input_cost = dearest.worst_input(input_tokens, audio=False, one_hour=one_hour)
        output_rate = dearest.worst_output_rate(input_tokens)
        input_cost -= -beside * output_rate // _MILLION
    quoted: Quote = tuple.__new__(
        Quote,
        (
            rates,
            input_tokens + beside,
            input_cost,
            output_rate,
            most * n,
            min(max(comfortable, least), most) * n,
            max(min(USEFUL, most), min(least, most)) * n,
            output_cap is not None,
            n,
            one_hour,
            guessed,
        ),
    )
    return quoted
