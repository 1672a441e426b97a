"""Pluggy hooks: how prices, ledgers, guards, adapters and listeners of others join.

Write a plugin as a module or a class with `@hookimpl` methods, then either
``budget_core.hooks.register(plugin)`` or, in an installed package, name it under the entry-point
group ``budget_core``. ``BUDGET_DISABLE_PLUGINS=1`` keeps installed plugins out, a list of names
those that it names. What of this package is exchangeable is plugged in by the same hooks.

docs/hooks.md tells when each is asked, and shows each. Each is asked with one frozen dataclass, to
which fields may be added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from budget_core.runtime.lazy import lazy
from budget_core.runtime.plugins.asking import every, first, listening, until_change
from budget_core.runtime.plugins.manager import (
    PluginInfo,
    on_change,
    plugins,
    register,
    unregister,
)
from budget_core.runtime.plugins.markers import hookimpl, hookspec

if TYPE_CHECKING:
    import typer

    from budget_core.calls.estimator import EstimateRequest
    from budget_core.calls.responses import UsageRequest
    from budget_core.events import Event
    from budget_core.ledger import Ledger
    from budget_core.ledger.resolve import LedgerRequest
    from budget_core.money.prices.lookup import PriceRequest
    from budget_core.money.prices.rates import Rates
    from budget_core.money.prices.registry import ModelsRequest
    from budget_core.money.usage import Receipt
    from budget_core.sdk.dropin import DropinRequest
    from budget_core.sdk.installing import GuardsRequest
    from budget_core.session.admission import ReserveRequest

_HOME: Final = {
    "DropinRequest": "sdk.dropin",
    "EstimateRequest": "calls.estimator",
    "GuardsRequest": "sdk.installing",
    "LedgerRequest": "ledger.resolve",
    "ModelsRequest": "money.prices.registry",
    "PriceRequest": "money.prices.lookup",
    "ReserveRequest": "session.admission",
    "UsageRequest": "calls.responses",
}


@dataclass(frozen=True, slots=True)
class CommandsRequest:
    """Where to add commands: the tree of ``budget``, a `typer.Typer`."""

    app: typer.Typer


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


__all__ = [
    "CommandsRequest",
    "DropinRequest",
    "EstimateRequest",
    "GuardsRequest",
    "LedgerRequest",
    "ModelsRequest",
    "PluginInfo",
    "PriceRequest",
    "ReserveRequest",
    "UsageRequest",
    "every",
    "first",
    "hookimpl",
    "listening",
    "on_change",
    "plugins",
    "register",
    "unregister",
    "until_change",
]

__getattr__, __dir__ = lazy(__name__, _HOME, within="budget_core")
