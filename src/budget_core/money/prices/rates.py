"""What tokens of one model cost: whole nanos per million tokens, and exact sums of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from budget_core.money.usd import Money, parse_cost

if TYPE_CHECKING:
    from budget_core.money.usage import Usage

MILLION: Final = 1_000_000
Steps: TypeAlias = "tuple[tuple[int, Rates], ...]"


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of a model, in nanos (1e-9 dollars) per million tokens.

    Attributes:
        input, output: plain tokens; reasoning is output.
        cache_read, cache_write, cache_write_1h: input read from and written to a prompt cache.
        audio_input, audio_output, audio_cache_read: tokens that are audio.
        request: nanos for a request, whatever its size.
        steps: ``(threshold, rates)``, ascending: a request of more input tokens than the threshold
            is priced by those rates as a whole.
        source: ``"registered"``, ``"plugin"`` or ``"genai-prices"``.

    Write ``Rates.of(3, 15)`` for prices in dollars.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    audio_output: int
    audio_cache_read: int
    request: int = 0
    steps: Steps = ()
    source: str = "plugin"

    @classmethod
    def of(
        cls,
        input_price: Money,
        output_price: Money,
        *,
        cache_read: Money | None = None,
        cache_write: Money | None = None,
        cache_write_1h: Money | None = None,
        audio_input: Money | None = None,
        audio_output: Money | None = None,
        source: str = "plugin",
    ) -> Rates:
        """Build rates from dollars per million tokens.

        What is not given costs as plain tokens do, but an hour's cache writes twice the input if
        writes have a price: that is what Anthropic, who bills them, asks.

        Raises:
            InvalidCost: a price is negative, NaN, infinite, a bool or no number.
        """
        plain, output = parse_cost(input_price), parse_cost(output_price)
        written = _parse(cache_write, plain)
        hour = written if cache_write is None else max(2 * plain, written)
        read = _parse(cache_read, plain)
        return cls(
            input=plain,
            output=output,
            cache_read=read,
            cache_write=written,
            cache_write_1h=_parse(cache_write_1h, hour),
            audio_input=_parse(audio_input, plain),
            audio_output=_parse(audio_output, output),
            audio_cache_read=read,
            source=source,
        )

    @staticmethod
    def sound(value: object) -> bool:
        """Return whether `value` is rates of whole nanos, none of them negative."""
        if not isinstance(value, Rates):
            return False
        prices = (getattr(value, name) for name in _PRICES)
        return all(type(price) is int and price >= 0 for price in prices) and all(
            type(threshold) is int and Rates.sound(step) for threshold, step in value.steps
        )

    def cost(self, usage: Usage) -> int:
        """Return what `usage` costs, in nanos, rounded up once."""
        tokens, output, read, write, _, hour, audio_in, audio_out = usage
        rates = self.at(tokens) if self.steps else self
        if audio_in or audio_out:
            return rates._cost_with_audio(usage)  # noqa: SLF001  our own kind
        if not read and not write:
            total = tokens * rates.input + output * rates.output
        else:
            total = (
                max(tokens - read - write, 0) * rates.input
                + read * rates.cache_read
                + (write - hour) * rates.cache_write
                + hour * rates.cache_write_1h
                + output * rates.output
            )
        return -(-total // MILLION) + rates.request

    def at(self, input_tokens: int) -> Rates:
        rates = self
        for threshold, step in self.steps:
            if input_tokens <= threshold:
                break
            rates = step
        return rates

    def worst_input(self, tokens: int, *, audio: bool = True, one_hour: bool = True) -> int:
        """Return the most nanos that a request with up to `tokens` of input costs before output.

        Args:
            tokens: a bound on the input tokens.
            audio: False if the request certainly holds no audio.
            one_hour: False if it certainly asks for no one-hour cache.
        """
        if not (self.steps or audio or one_hour):
            dearest = max(self.input, self.cache_read, self.cache_write)
            return -(-tokens * dearest // MILLION) + self.request
        worst = tokens * self._dearest_input(audio, one_hour)
        for threshold, step in self.steps:
            if tokens > threshold:
                worst = max(worst, tokens * step._dearest_input(audio, one_hour))  # noqa: SLF001
        return -(-worst // MILLION) + self.request

    def worst_output_rate(self, input_tokens: int, *, audio: bool = True) -> int:
        """Return the most nanos that a million output tokens cost, up to that input size."""
        if not self.steps:
            return max(self.output, self.audio_output) if audio else self.output
        reached = [step for threshold, step in self.steps if input_tokens > threshold]
        return max(max(r.output, r.audio_output if audio else 0) for r in (self, *reached))

    def times(self, factor: int) -> Rates:
        steps = tuple((threshold, step.times(factor)) for threshold, step in self.steps)
        return replace(
            self, steps=steps, **{name: getattr(self, name) * factor for name in _PRICES}
        )

    def _dearest_input(self, audio: bool, one_hour: bool) -> int:
        dearest = max(self.input, self.cache_read, self.cache_write)
        if one_hour:
            dearest = max(dearest, self.cache_write_1h)
        if audio:
            dearest = max(dearest, self.audio_input, self.audio_cache_read)
        return dearest

    def _cost_with_audio(self, usage: Usage) -> int:
        """Price audio as dear as the counts allow: how much of it was cached is not told."""
        tokens, output, read, write, _, hour, audio_in, audio_out = usage
        uncached = max(tokens - read - write, 0)
        fresh = min(audio_in, uncached)
        cached = min(audio_in - fresh, read)
        total = (
            (uncached - fresh) * self.input
            + fresh * self.audio_input
            + (read - cached) * self.cache_read
            + cached * self.audio_cache_read
            + (write - hour) * self.cache_write
            + hour * self.cache_write_1h
            + (output - audio_out) * self.output
            + audio_out * self.audio_output
        )
        return -(-total // MILLION) + self.request


_PRICES: Final = tuple(f.name for f in fields(Rates) if f.name not in {"steps", "source"})


def _parse(price: Money | None, otherwise: int) -> int:
    return otherwise if price is None else parse_cost(price)
