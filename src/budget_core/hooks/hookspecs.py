"""The hooks that the core calls; docs/hooks.md tells when, and shows each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from budget_core.calls.responses import Receipt
    from budget_core.events import Event
    from budget_core.hooks.requests import (
        CommandsRequest,
        DropinRequest,
        EstimateRequest,
        GuardsRequest,
        LedgerRequest,
        ModelsRequest,
        PriceRequest,
        ReserveRequest,
        UsageRequest,
    )
    from budget_core.ledger import Ledger
    from budget_core.money.prices.lookup import Rates

PROJECT: Final = "budget_core"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def budget_models(request: ModelsRequest) -> None:
    """Register the prices of models, before any other source but the user's own."""


@hookspec(firstresult=True)
def budget_price(request: PriceRequest) -> Rates | None:
    """Return the rates of a model, or None to leave it to the next source."""


@hookspec(firstresult=True)
def budget_estimate(request: EstimateRequest) -> int | None:
    """Return the most input tokens that a request can be billed for, or None."""


@hookspec
def budget_reserve(request: ReserveRequest) -> int | None:
    """Return the longest answer to hold, in tokens, or None; raise AgentBudgetError to refuse."""


@hookspec(firstresult=True)
def budget_usage(request: UsageRequest) -> Receipt | None:
    """Return what a response of an unknown shape says that it used, or None."""


@hookspec
def budget_event(event: Event) -> None:
    """Hear what happened; called outside every lock, and what it raises is only logged."""


@hookspec(firstresult=True)
def budget_ledger(request: LedgerRequest) -> Ledger | None:
    """Return a ledger for a URL whose scheme is yours, or None."""


@hookspec
def budget_guards(request: GuardsRequest) -> None:
    """Register guards on SDKs, which hold what is sent through them."""


@hookspec
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    """Watch a framework for a session that init() opened; return what ends that, or None."""


@hookspec
def budget_commands(request: CommandsRequest) -> None:
    """Add commands to ``budget``."""
