"""What tokens of one model cost: whole nanos per million tokens, and exact sums of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from budget_core.money.usage import REQUEST
from budget_core.money.usd import Money, parse_cost

if TYPE_CHECKING:
    from budget_core.money.usage import Fees, Usage

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
        text_input, text_output: tokens that are told to be text, where those are cheaper than
            images and video, whose price `input` and `output` are then; None where they are not.
        hears, speaks: audio in the input, in the output has a price; where it has none, it costs as
            other tokens do here, and a call with such audio is unpriced.
        fees: nanos for a thousand of what is billed beside tokens, by its unit (see `Receipt`).
        dearest: the dearest price at any time of the day, where it depends on that.
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
    text_input: int | None = None
    text_output: int | None = None
    hears: bool = True
    speaks: bool = True
    fees: tuple[tuple[str, int], ...] = ()
    dearest: Rates | None = None

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
        prices = [getattr(value, name) for name in PRICES]
        prices += [price for price in (value.text_input, value.text_output) if price is not None]
        prices += [price for _, price in value.fees]
        inner = [step for _, step in value.steps]
        inner += [] if value.dearest is None else [value.dearest]
        return (
            all(type(price) is int and price >= 0 for price in prices)
            and all(type(threshold) is int for threshold, _ in value.steps)
            and all(map(Rates.sound, inner))
        )

    def cost(self, usage: Usage) -> int:
        """Return what `usage` costs, in nanos, rounded up once."""
        tokens, output, read, write, _, hour, *told = usage
        rates = self.at(tokens) if self.steps else self
        if told != _NOTHING_TOLD:
            return rates._cost_by_modality(usage)  # noqa: SLF001  our own kind
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

    def silent(self, usage: Usage) -> bool:
        """Return whether audio that a call used has no known price."""
        return bool((usage[6] and not self.hears) or (usage[7] and not self.speaks))

    def beside(self, fees: Fees) -> tuple[int, tuple[str, ...]]:
        """Return what is billed beside tokens, in nanos, and the units that have no known price."""
        known, nanos, unpriced = dict(self.fees), 0, []
        for unit, count in fees:
            if unit == REQUEST:
                nanos += count - self.request if self.request else 0
            elif unit in known:
                nanos += -(-count * known[unit] // 1_000)
            elif unit not in INCLUDED:
                unpriced.append(unit)
        return nanos, tuple(unpriced)

    def times(self, factor: int, by: int = 1) -> Rates:
        """Return these prices times ``factor / by``, rounded up; fees stay as they are."""
        steps = tuple((threshold, step.times(factor, by)) for threshold, step in self.steps)
        scaled = {
            name: -(-price * factor // by)
            for name in (*PRICES, "text_input", "text_output")
            if (price := getattr(self, name)) is not None
        }
        dearest = self.dearest and self.dearest.times(factor, by)
        return replace(self, steps=steps, dearest=dearest, **scaled)

    def _dearest_input(self, audio: bool, one_hour: bool) -> int:
        dearest = max(self.input, self.cache_read, self.cache_write)
        if one_hour:
            dearest = max(dearest, self.cache_write_1h)
        if audio:
            dearest = max(dearest, self.audio_input, self.audio_cache_read)
        return dearest

    def _cost_by_modality(self, usage: Usage) -> int:
        """Price what is told of modalities; as dear as the counts allow where it is not."""
        tokens, output, read, write, _, hour, audio_in, audio_out, text_in, text_out, heard = usage
        uncached = max(tokens - read - write, 0)
        fresh = min(audio_in - min(heard, audio_in, read), uncached)
        cached = min(audio_in - fresh, read)
        # what was cached may have been text: the rest is dearer
        text_in = min(max(text_in - (read - cached) - write, 0), uncached - fresh)
        text_out = min(text_out, output - audio_out)
        text_input = self.input if self.text_input is None else self.text_input
        text_output = self.output if self.text_output is None else self.text_output
        total = (
            (uncached - fresh - text_in) * self.input
            + text_in * text_input
            + fresh * self.audio_input
            + (read - cached) * self.cache_read
            + cached * self.audio_cache_read
            + (write - hour) * self.cache_write
            + hour * self.cache_write_1h
            + (output - audio_out - text_out) * self.output
            + text_out * text_output
            + audio_out * self.audio_output
        )
        return -(-total // MILLION) + self.request


_NOTHING_TOLD: Final = [0] * 5
PRICES: Final = tuple(f.name for f in fields(Rates) if f.type == "int")
INCLUDED: Final = frozenset({"search_queries", "citation_tokens", "thought_tokens"})
"""Units that are billed where they have a price, and are part of others' where they have none."""


def _parse(price: Money | None, otherwise: int) -> int:
    return otherwise if price is None else parse_cost(price)
