"""The public prices: genai-prices' data, matched exactly and read into `Rates`.

Its own matching also accepts names that begin with or contain a known one, and so prices a model
as its cheaper namesake (``o1-pro`` as ``o1``, at a tenth). Here a name is a model's own, or one
that its rules list as equal; `names.candidates` adds dates and prefixes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import ROUND_CEILING
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from budget_core.money.prices.names import candidates, canonical, prefixes, undated, unversioned
from budget_core.money.prices.rates import PRICES, Rates
from budget_core.money.usd import NANOS_PER_USD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from genai_prices.types import ModelInfo, Provider

NATIVE: Final = (
    "openai", "anthropic", "google", "mistral", "cohere", "x-ai", "deepseek", "perplexity",
    "moonshotai", "zai", "minimax", "meta", "voyageai", "groq", "cerebras",
)  # fmt: skip
"""Who is asked for a plain name, in this order: the makers of models before those who resell."""

PROVIDERS: Final = {
    "amazon": "aws", "amazon_bedrock": "aws", "bedrock": "aws", "bedrock_converse": "aws",
    "anthropic_bedrock": "aws", "azure_ai": "azure", "azure_openai": "azure",
    "azure-openai": "azure", "gemini": "google", "google_genai": "google",
    "google_vertexai": "google", "vertex": "google", "vertex_ai": "google", "vertexai": "google",
    "google_anthropic_vertex": "google", "mistralai": "mistral", "xai": "x-ai",
    "together_ai": "together", "fireworks_ai": "fireworks", "moonshot": "moonshotai",
}  # fmt: skip
"""What SDKs and frameworks call a provider, and its id in the data where that is another one."""

CONTEXTS: Final = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
FEES: Final[dict[str, tuple[str, int | Fraction]]] = {
    "web_searches": ("web_searches_kcount", 1),
    "storage_searches": ("storage_searches_kcount", 1),
    "search_queries": ("web_searches_kcount", 1),
    "citation_tokens": ("output_citation_mtok", 1_000),
    "thought_tokens": ("output_reasoning_mtok", 1_000),
    "audio_seconds": ("input_audio_hours", Fraction(3_600, 1_000)),
}
"""What is billed beside tokens: its key in the data, whose price is of so many thousands."""
_ALL_ALIKE: Final = "google"
"""Whose prices of tokens are those of audio, too, where audio has none of its own:
https://ai.google.dev/gemini-api/docs/pricing. Others bill it apart, or not by tokens."""
_HEARD: Final = frozenset({"input_audio_mtok", "input_audio_hours"})
DEARER: Final = ("priority", "fast")
"""Tiers that cost more than the standard one: twice its price where theirs is not known."""


class Entry(NamedTuple):
    """A model in the table; `own` is False if its price is lent by another provider's list."""

    provider: str
    model: ModelInfo
    own: bool = True


class PriceTable:
    """An index over one snapshot of the data: provider id → name → model."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._models = {p.id: _index(p.models) for p in providers}
        self._lenders = {p.id: p.fallback_model_providers or () for p in providers}
        self._makers = [pid for pid in NATIVE if pid in self._models]
        self._resellers = [pid for pid in self._models if pid not in self._makers]
        self._providers = providers

    def rates(self, name: str, provider: str | None, tier: str | None) -> Rates | None:
        """Return the rates of `name`, valid now; None if it is unknown or has no price.

        Asked in order: the given provider, the one that a prefix names, the makers of models,
        and of all resellers the dearest.
        """
        now = datetime.now(UTC)
        entry = self._asked(name, provider) or self._made(name)
        if entry is not None:
            return read_rates(entry, tier, now)
        resold = (read_rates(entry, tier, now) for entry in self._resold(name))
        return max(filter(None, resold), key=lambda r: r.input + r.output, default=None)

    def entries(self) -> Iterator[Entry]:
        for provider in self._providers:
            for model in provider.models:
                yield Entry(provider.id, model)

    def _asked(self, name: str, provider: str | None) -> Entry | None:
        wanted = [(provider, name)] if provider else []
        for hint, rest in (*wanted, *prefixes(name)):
            pid = provider_id(hint)
            if pid in self._models and (entry := self._at(pid, rest)):
                return entry
        return None

    def _at(self, pid: str, name: str) -> Entry | None:
        if pid == "aws" and name.startswith("claude"):
            name = f"anthropic.{name}"  # Bedrock's answers name the model without its vendor
        for form in candidates(name):
            for lender in (pid, *self._lenders[pid]):
                if model := self._models.get(lender, {}).get(form):
                    return Entry(lender, model, own=lender == pid)
        return None

    def _made(self, name: str) -> Entry | None:
        for form in candidates(name):
            for pid in self._makers:
                if model := self._models[pid].get(form):
                    return Entry(pid, model)
        return None

    def _resold(self, name: str) -> Iterator[Entry]:
        for form in candidates(name):
            found = [Entry(p, m) for p in self._resellers if (m := self._models[p].get(form))]
            if found:
                yield from found
                return


def provider_id(provider: str) -> str:
    word = provider.strip().lower()
    return PROVIDERS.get(word, word)


def read_rates(entry: Entry, tier: str | None, now: datetime) -> Rates | None:
    """Read a model's prices at `now`, or None if plain tokens have none (or cost $0: unknown).

    A tier without prices of its own costs the standard ones, a dearer one (`DEARER`) twice those.
    """
    found = _read_at(entry, tier, now)
    if found is None or not (bands := _bands(entry.model)):
        return found
    others = (_read_at(entry, tier, datetime.combine(now.date(), band)) for band in bands)
    each = [found, *filter(None, others)]
    worst = {name: max(getattr(one, name) for one in each) for name in PRICES}
    dearest = max(each, key=lambda one: one.output)
    return replace(found, dearest=replace(dearest, **worst))


def _read_at(entry: Entry, tier: str | None, now: datetime) -> Rates | None:
    standard = entry.model.get_prices(now)
    prices = entry.model.get_prices(now, CONTEXTS[tier]) if tier and entry.own else standard
    thresholds = {t.start for p in vars(prices).values() for t in getattr(p, "tiers", ())}
    base = _flat(entry.model, vars(prices), 0)
    if base is None:
        return None
    steps = [(start, _flat(entry.model, vars(prices), start + 1)) for start in sorted(thresholds)]
    alike = entry.provider == _ALL_ALIKE
    found = replace(
        base,
        steps=tuple((start, step) for start, step in steps if step),
        hears=alike or not _HEARD.isdisjoint(vars(prices)),
        speaks=alike or "output_audio_mtok" in vars(prices),
        fees=tuple(_fees(vars(prices))),
    )
    return found.times(2) if tier in DEARER and prices == standard else found


def _bands(model: ModelInfo) -> set[time]:
    """Return the times of the day at which a model's price changes."""
    prices: list[Any] = model.prices if isinstance(model.prices, list) else []
    limits = [price.constraint for price in prices if hasattr(price.constraint, "start_time")]
    return {at for limit in limits for at in (limit.start_time, limit.end_time)}


def _fees(prices: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for unit, (key, thousands) in FEES.items():
        if price := _nanos(prices.get(key), 0):
            yield unit, ceil(price / thousands)


def _flat(model: ModelInfo, prices: dict[str, Any], tokens: int) -> Rates | None:
    def price(*keys: str) -> int:
        return max(_nanos(prices.get(key + "_mtok"), tokens) for key in keys)

    # usage may not tell images and video from text: the dearest of them is charged then
    plain = price("input", "input_image", "input_video")
    output = price("output", "output_image", "output_video")
    if not price("input") or ("output_mtok" in prices and not price("output")):
        return None
    read = price("cache_read", "cache_image_read", "cache_video_read") or plain
    written = price("cache_write") or plain
    hour = max(2 * plain, written) if "claude" in model.id else written
    requests = prices.get("requests_kcount")
    return Rates(
        input=plain,
        output=output or plain,  # embeddings have none; nothing is ever free
        cache_read=read,
        cache_write=written,
        cache_write_1h=price("cache_write_1h") or hour,
        audio_input=price("input_audio") or (0 if "input_audio_hours" in prices else plain),
        audio_output=price("output_audio") or output or plain,
        audio_cache_read=price("cache_audio_read") or read,
        request=-(-_nanos(requests, tokens) // 1_000),
        source="genai-prices",
        text_input=text if (text := price("input")) < plain else None,
        text_output=text if 0 < (text := price("output")) < output else None,
    )


def _nanos(price: Any, tokens: int) -> int:
    """Return dollars as nanos, rounded up: a Decimal, or steps of them."""
    amount: Decimal | None = price
    if hasattr(price, "tiers"):
        amount = price.base
        for step in price.tiers:
            amount = step.price if tokens > step.start else amount
    if not amount:
        return 0
    return int((amount * NANOS_PER_USD).to_integral_value(ROUND_CEILING))


def _index(models: Sequence[ModelInfo]) -> dict[str, ModelInfo]:
    """Index a provider's models by their ids, then by the names that their rules list as equal."""
    found: dict[str, ModelInfo] = {}
    for names in (_ids, _equals, _bases):
        for model in models:
            for name in names(model):
                found.setdefault(name, model)
    return found


def _ids(model: ModelInfo) -> Iterator[str]:
    yield canonical(model.id)


def _equals(model: ModelInfo) -> Iterator[str]:
    clauses: list[Any] = [model.match]
    while clauses:
        clause = clauses.pop()
        clauses.extend(getattr(clause, "or_", ()))
        if name := getattr(clause, "equals", None):
            yield canonical(name)


def _bases(model: ModelInfo) -> Iterator[str]:
    """Yield an id without ``-latest``, without Bedrock's version and date, without an open end."""
    name = canonical(model.id)
    if name.endswith("-latest"):
        yield undated(name)
    elif name.startswith("ft:"):
        yield name.rstrip("-")
    elif "." in name and (bare := unversioned(name)) != name:
        yield bare
        yield undated(bare)
