"""Models that the user registered, or a plugin did: they win over every table's."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from budget_core.errors import AgentBudgetError, InvalidCost
from budget_core.money.prices.names import candidates, canonical
from budget_core.money.prices.rates import Rates
from budget_core.runtime.plugins import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.money.usd import Money


class Registered(NamedTuple):
    """A registered model, as it was named."""

    name: str
    rates: Rates
    max_output: int | None


_models: Final[dict[str, Registered]] = {}


def read(
    name: str,
    input_price_per_million: Money,
    output_price_per_million: Money,
    *,
    cache_read_price_per_million: Money | None = None,
    cache_write_price_per_million: Money | None = None,
    max_output_tokens: int | None = None,
    source: str = "registered",
) -> Registered:
    """Read what `register_model` takes.

    Raises:
        InvalidCost: a price is no price, the name is no text or empty, or the maximum is no whole
            positive number.
    """
    prices = Rates.of(
        input_price_per_million,
        output_price_per_million,
        cache_read=cache_read_price_per_million,
        cache_write=cache_write_price_per_million,
        source=source,
    )
    if "claude" in str(name).lower():
        prices = replace(prices, cache_write_1h=max(2 * prices.input, prices.cache_write))
    most = max_output_tokens
    if not isinstance(name, str) or not name.strip():
        raise InvalidCost(f"A model's name must be a text that is not empty; got {name!r}.")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidCost(f"max_output_tokens= takes a whole number, 1 or more; got {most!r}.")
    return Registered(name, prices, most)


def read_prices(name: str, prices: object) -> tuple[Money, Money, Money | None]:
    """Return a model's input, output and cached input price, the last one None if not given.

    Raises:
        InvalidCost: they are not two or three in a row.
    """
    if not isinstance(prices, tuple | list) or len(prices) not in {2, 3}:
        raise InvalidCost(f"{name!r} takes (input, output) or (input, output, cache read).")
    before, after, *cached = prices
    return before, after, cached[0] if cached else None


def add(model: Registered) -> None:
    """Register a model, in place of one registered under the same name before."""
    _models[canonical(model.name)] = model


def find(name: str) -> Registered | None:
    """Find a model by its name, a dated variant of it, or behind a provider's prefix."""
    models = ChainMap(_models, plugged) if (plugged := _plugged()) else _models
    if not models:
        return None
    return next((models[form] for form in candidates(name) if form in models), None)


def every() -> Iterator[Registered]:
    yield from {**_plugged(), **_models}.values()


def clear() -> None:
    _models.clear()


@asking.until_change
def _plugged() -> dict[str, Registered]:
    models: dict[str, Registered] = {}

    def register(name: str, *prices: Money, **more: Money | None) -> None:
        one = read(name, *prices, **more, source="plugin")  # type: ignore[arg-type]
        models.setdefault(canonical(name), one)

    asking.every("budget_models", ModelsRequest(register), passing=AgentBudgetError)
    return models


@dataclass(frozen=True, slots=True)
class ModelsRequest:
    """Call `register` with what `budget_core.register_model` takes, once a model."""

    register: Callable[..., None]
