"""What each hook is asked with: one frozen dataclass, to which fields may be added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from budget_core.calls.call import CallRequest
    from budget_core.money.usd import Money
    from budget_core.session.session import BudgetSession


@dataclass(frozen=True, slots=True)
class ModelsRequest:
    """Call `register` with what `budget_core.register_model` takes, once a model."""

    register: Callable[..., None]


@dataclass(frozen=True, slots=True)
class PriceRequest:
    """Which price is asked for: `tier` is None, "batch", "flex", "priority" or "fast"."""

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
class ReserveRequest:
    """Which call is about to be held, and in which session."""

    session: BudgetSession
    call: CallRequest


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """Which response nobody could read so far."""

    response: Any


@dataclass(frozen=True, slots=True)
class LedgerRequest:
    """Which ledger is asked for, by URL."""

    url: str


@dataclass(frozen=True, slots=True)
class GuardsRequest:
    """Call `register` with an SDK's module and where its guard is, as in "package.module:GUARD"."""

    register: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class DropinRequest:
    """Which session `init` opened, and what each agent may spend of it: dollars by its name."""

    session: BudgetSession
    agents: Mapping[str, Money]


@dataclass(frozen=True, slots=True)
class CommandsRequest:
    """Where to add commands: the tree of ``budget``, a `typer.Typer`."""

    app: typer.Typer


__all__ = [
    "CommandsRequest",
    "DropinRequest",
    "EstimateRequest",
    "GuardsRequest",
    "LedgerRequest",
    "ModelsRequest",
    "PriceRequest",
    "ReserveRequest",
    "UsageRequest",
]
