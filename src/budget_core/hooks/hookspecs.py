"""The hooks that the core calls. Each takes one frozen dataclass, to which fields may be added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from budget_core.events import Event
    from budget_core.ledger import Ledger
    from budget_core.money import Money
    from budget_core.pricing import Rates
    from budget_core.session import BudgetSession

PROJECT: Final = "budget_core"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """Which price is asked for: `tier` is None, "batch", "flex" or "priority"."""

    model: str
    provider: str | None = None
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class EstimateRequest:
    """Whose input tokens are to be bounded: `messages` and all else that counts, JSON-like."""

    model: str
    provider: str | None
    messages: Sequence[Any]
    context: Any = None


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """Which ledger is asked for, by URL."""

    url: str


@dataclass(frozen=True, slots=True)
class DropinRequest:
    """Which session `init` opened, and what each agent may spend of it: dollars by its name."""

    session: BudgetSession
    agents: Mapping[str, Money]


@hookspec(firstresult=True)
def budget_price(request: PriceRequest) -> Rates | None:
    """Return the rates of a model, or None to leave it to the next source."""


@hookspec(firstresult=True)
def budget_estimate(request: EstimateRequest) -> int | None:
    """Return the most input tokens that a request can be billed for, or None."""


@hookspec(firstresult=True)
def budget_ledger(request: LedgerRequest) -> Ledger | None:
    """Return a ledger for a URL whose scheme is yours, or None."""


@hookspec
def budget_event(event: Event) -> None:
    """Hear what happened; called outside every lock, and what it raises is only logged."""


@hookspec
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    """Watch a framework for a session that init() opened; return what ends that, or None."""
