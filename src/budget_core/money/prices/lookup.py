"""What a model costs.

Asked in order:

1. what the user registered (`register_model`), and plugins (hook ``budget_models``),
2. a plugin's ``budget_price`` hook,
3. the public prices of genai-prices, in which a name must match exactly, by a known alias, without
   its date, or without its provider's prefix: never by resemblance (see `price_table`).

A model without a price, or with one of $0 that was not registered as free, is an `UnknownModel`.
Rates are read once a model and cached for a quarter of an hour, as some prices depend on the time,
or until a plugin comes or goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, cast

from budget_core.errors import AgentBudgetError, UnknownModel
from budget_core.money.prices import registry
from budget_core.money.prices.names import candidates, canonical, prefixes
from budget_core.money.prices.output_limits import known_max_output
from budget_core.money.prices.rates import Rates
from budget_core.money.prices.table import DEARER, PriceTable, read_rates
from budget_core.money.usage import tier_of
from budget_core.runtime.plugins import asking, manager
from budget_core.runtime.plugins.markers import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from budget_core.money.usd import Money

_Entries: TypeAlias = "dict[tuple[str, str | None, str | None], Rates | None]"

_SECONDS_FRESH: Final = 900
_MOST_CACHED: Final = 10_000


class KnownModel(NamedTuple):
    """A model with a price, as `known_models` lists them; `max_output` in tokens, if known."""

    name: str
    provider: str | None
    rates: Rates
    max_output: int | None


def rates(model: str, provider: str | None = None, tier: str | None = None) -> Rates:
    """Return what `model` costs now.

    Args:
        model: its name, in any case, dated or not, with a provider's prefix or without.
        provider: whose price list to look into first (``"openai"``, ``"azure"``, …); without one
            a model's maker comes first, and of those who merely resell it the dearest.
        tier: None, ``"batch"``, ``"flex"``, ``"priority"`` or ``"fast"``. Where the tier's price
            is not known, batch and flex cost the standard price and the others twice that.

    Raises:
        UnknownModel: no price is known.
    """
    found = _cache.entries.get((model, provider, tier))
    if found is not None and time() < _cache.until:
        return found
    return _look_up(model, provider, tier)


def settle_rates(
    requested: str, answered: str | None, provider: str | None = None, tier: str | None = None
) -> Rates:
    """Return what a call is charged at, by the models that it asked for and that answered.

    A price registered for the requested model wins over the table's for the dated one that the
    response names; else the answering model's price counts, if known, else the requested one's.

    Raises:
        UnknownModel: neither has a price.
    """
    if not answered or answered == requested or is_registered(requested):
        return rates(requested, provider, tier)
    if _hinted(requested) == "bedrock" and canonical(answered) in set(candidates(requested)):
        return rates(requested, provider, tier)  # its answers leave the region out, and its price
    try:
        return rates(answered, provider or _hinted(requested), tier)
    except UnknownModel:
        return rates(requested, provider, tier)


def register_model(
    name: str,
    input_price_per_million: Money,
    output_price_per_million: Money,
    *,
    cache_read_price_per_million: Money | None = None,
    cache_write_price_per_million: Money | None = None,
    max_output_tokens: int | None = None,
) -> None:
    """Set a model's price, in dollars per million tokens, for this process.

    It also holds for the model's dated variants and behind provider prefixes, before any other
    source, and 0 means free. Cached tokens without a price cost as plain input; an hour's cache
    writes cost twice the input where writes have a price, and for every Claude.

    Raises:
        InvalidCost: a price is negative, NaN, infinite, a bool or no number; or the name is empty.
    """
    registry.add(
        registry.read(
            name,
            input_price_per_million,
            output_price_per_million,
            cache_read_price_per_million=cache_read_price_per_million,
            cache_write_price_per_million=cache_write_price_per_million,
            max_output_tokens=max_output_tokens,
        )
    )
    forget()


def register_models(models: Mapping[str, tuple[Money, ...]]) -> None:
    """Register several: ``{name: (input, output)}``, or with a third price for cache reads.

    All or none: nothing is registered if one of them cannot be read.

    Raises:
        InvalidCost: as `register_model`, or not two or three prices.
    """
    for check in (registry.read, register_model):
        for name, prices in models.items():
            before, after, read = registry.read_prices(name, prices)
            check(name, before, after, cache_read_price_per_million=read)


def is_registered(model: str) -> bool:
    """Return whether `model` is registered, or the base of which it is a dated form."""
    return registry.find(model) is not None


def known_models() -> Iterator[KnownModel]:
    """Yield every model that has a price: the registered ones, then the public table's.

    The table's own names are yielded, once a provider that sells the model.
    """
    for one in registry.every():
        yield KnownModel(one.name, None, one.rates, one.max_output or known_max_output(one.name))
    now = datetime.now(UTC)
    for entry in _table().entries():
        found = read_rates(entry, None, now)
        if found is not None:
            name = entry.model.id
            yield KnownModel(name, entry.provider, found, known_max_output(name))


def forget() -> None:
    """Drop cached rates, after what they came from has changed."""
    global _cache  # noqa: PLW0603  swapped whole: a slow reader writes into the old one
    _cache = _Cache({}, time() // _SECONDS_FRESH * _SECONDS_FRESH + _SECONDS_FRESH)


class _Cache(NamedTuple):
    """Answers, None for a model without a price, and the time until which they hold."""

    entries: _Entries
    until: float


_cache = _Cache({}, 0.0)
_tables: list[tuple[object, PriceTable]] = []


def _look_up(model: str, provider: str | None, tier: str | None) -> Rates:
    if not isinstance(model, str) or not model.strip():
        raise UnknownModel(str(model), provider)
    entries = _entries()  # taken first: an answer older than a registration is not kept
    word = tier_of(tier)
    key = (model, provider, tier)
    if key in entries:
        found = entries[key]
    else:
        found = entries[key] = _own(model, word) or _plugged(model, provider, word)
    if found is None:
        raise UnknownModel(model, provider)
    return found


def _entries() -> _Entries:
    if time() >= _cache.until or len(_cache.entries) >= _MOST_CACHED:
        forget()
    return _cache.entries


def _own(model: str, tier: str | None) -> Rates | None:
    one = registry.find(model)
    if one is None:
        return None
    return one.rates.times(2) if tier in DEARER else one.rates


def _plugged(model: str, provider: str | None, tier: str | None) -> Rates | None:
    """Ask the plugins, of which the public table is the last."""
    request = PriceRequest(model, provider, tier)
    answer = asking.first("budget_price", request, sound=Rates.sound, passing=AgentBudgetError)
    return cast("Rates | None", answer)


@hookimpl(trylast=True)
def budget_price(request: PriceRequest) -> Rates | None:
    """Return the public price of a model."""
    return _table().rates(request.model, request.provider, request.tier)


def _table() -> PriceTable:
    """Index the data once a snapshot: genai-prices can be told to fetch newer ones."""
    # imported here: it takes longer than all the rest of the package
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    snapshot = get_snapshot()
    if not _tables or _tables[0][0] is not snapshot:
        _tables[:] = [(snapshot, PriceTable(snapshot.providers))]
    return _tables[0][1]


def _hinted(model: str) -> str | None:
    found = [prefix for prefix, _ in prefixes(model)]
    return "bedrock" if "bedrock" in found else next(iter(found), None)


manager.on_change(forget)


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """Which price is asked for: `tier` is None, "batch", "flex", "priority" or "fast"."""

    model: str
    provider: str | None = None
    tier: str | None = None
