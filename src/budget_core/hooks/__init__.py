"""Pluggy hooks: how prices, estimates, ledgers and listeners of others join.

Write a plugin as a module or a class with `@hookimpl` methods, then either
``budget_core.hooks.register(plugin)`` or, in an installed package, name it under the entry-point
group ``budget_core``. ``BUDGET_DISABLE_PLUGINS=1`` keeps installed plugins out.
"""

from budget_core.hooks.hookspecs import (
    DropinRequest,
    EstimateRequest,
    LedgerRequest,
    PriceRequest,
    hookimpl,
)
from budget_core.hooks.manager import first, listening, notify, register, unregister

__all__ = [
    "DropinRequest",
    "EstimateRequest",
    "LedgerRequest",
    "PriceRequest",
    "first",
    "hookimpl",
    "listening",
    "notify",
    "register",
    "unregister",
]
