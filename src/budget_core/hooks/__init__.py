"""Pluggy hooks: how prices, ledgers, guards, adapters and listeners of others join.

Write a plugin as a module or a class with `@hookimpl` methods, then either
``budget_core.hooks.register(plugin)`` or, in an installed package, name it under the entry-point
group ``budget_core``. ``BUDGET_DISABLE_PLUGINS=1`` keeps installed plugins out, a list of names
those that it names. What of this package is exchangeable is plugged in by the same hooks.
"""

from budget_core.hooks.hookspecs import hookimpl
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
from budget_core.runtime.plugins.manager import (
    PluginInfo,
    every,
    first,
    listening,
    on_change,
    plugins,
    register,
    unregister,
    until_change,
)

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
