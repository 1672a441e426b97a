"""The tokens of one call, and the receipt that names them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

TIERS: Final = ("batch", "flex", "priority", "fast")
"""Service tiers with prices of their own; every other one is the standard tier, None."""


Fees: TypeAlias = tuple[tuple[str, int], ...]
REQUEST: Final = "request_nanos"
"""Among fees: what the request itself came to, told in nanos, in place of its price."""
_WHOLE: Final = {int}


class Usage(NamedTuple):
    """The tokens of one call. The parts are counted in their whole, never beside it.

    `input` includes `cache_read`, `cache_write` and `audio_input`; `cache_write` includes
    `cache_write_1h`; `output` includes `reasoning` and `audio_output`; `audio_cache_read` is
    counted in both `audio_input` and `cache_read`. `text_input` and `text_output` are what is told
    to be text: where it is not told, tokens cost as the dearest that they may be but for audio.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0
    text_input: int = 0
    text_output: int = 0
    audio_cache_read: int = 0

    @property
    def total(self) -> int:
        """All tokens: input and output."""
        return self.input + self.output

    @property
    def known(self) -> bool:
        """It says something: whole numbers, none of them negative, and not all zero."""
        return {*map(type, self)} == _WHOLE and min(self) >= 0 and self[0] + self[1] > 0


class Receipt(NamedTuple):
    """What a response says of itself.

    Attributes:
        usage: None if it is unknown.
        model: that answered.
        tier: see `TIERS`.
        cut: it ends where a cap on its length was met; None if that is unknown.
        others: other models that the provider asked on the way, each with what it used, which is
            billed beside `usage` at a price of its own (Anthropic's advisor and fallbacks).
        fees: what is billed beside tokens, each as its unit and how many of it: `web_searches`,
            `storage_searches`, or the name of a tool at the provider that has no known price.
        region: where the model ran, if that is told (Anthropic's ``inference_geo``).
        cost: nanos, as the provider itself says; None if it does not.
    """

    usage: Usage | None
    model: str | None = None
    tier: str | None = None
    cut: bool | None = None
    others: tuple[tuple[str, Usage], ...] = ()
    fees: Fees = ()
    region: str | None = None
    cost: int | None = None


NO_RECEIPT: Final = Receipt(None)


def tier_of(value: Any) -> str | None:
    """Return a provider's word for a service tier as one of `TIERS`, or None for the standard."""
    word = getattr(value, "value", value)
    if not isinstance(word, str):
        return None
    word = word.lower().removeprefix("on_demand_")
    return word if word in TIERS else None
