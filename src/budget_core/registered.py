"""Models that the user registered: their prices and maximums win over every table's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from budget_core.errors import InvalidCost
from budget_core.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.rates import Rates


class Registered(NamedTuple):
    """A registered model, as the user named it."""

    name: str
    rates: Rates
    max_output: int | None


_models: Final[dict[str, Registered]] = {}


def add(model: Registered) -> None:
    """Register a model, in place of one registered under the same name before.

    Raises:
        InvalidCost: as `check`.
    """
    check(model)
    _models[canonical(model.name)] = model


def check(model: Registered) -> None:
    """Refuse what cannot be registered.

    Raises:
        InvalidCost: the name is no text or empty, or the maximum is no whole positive number.
    """
    most = model.max_output
    if not isinstance(model.name, str) or not model.name.strip():
        raise InvalidCost(f"A model's name must be a text that is not empty; got {model.name!r}.")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidCost(f"max_output_tokens= takes a whole number, 1 or more; got {most!r}.")


def find(name: str) -> Registered | None:
    """Find a model by its name, a dated variant of it, or behind a provider's prefix."""
    if not _models:
        return None
    models = _models
    return next((models[form] for form in candidates(name) if form in models), None)


def every() -> Iterator[Registered]:
    """Yield all registered models."""
    yield from list(_models.values())


def clear() -> None:
    """Forget every registered model."""
    _models.clear()
