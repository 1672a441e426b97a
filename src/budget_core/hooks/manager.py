"""The one plugin manager. Without implementations a hook costs nothing: ask `listening` first."""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from budget_core.hooks import hookspecs

_log = logging.getLogger("budget_core")


@cache
def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    if not os.environ.get("BUDGET_DISABLE_PLUGINS"):
        for entry in entry_points(group=hookspecs.PROJECT):
            _load(manager, entry)
    return manager


def _load(manager: pluggy.PluginManager, entry: EntryPoint) -> None:
    """Add an installed plugin; one that cannot be imported breaks nobody's calls."""
    try:
        if not manager.has_plugin(entry.name):
            manager.register(entry.load(), entry.name)
    except Exception:  # noqa: BLE001  whatever somebody's package may raise
        _log.exception("The installed plugin %r could not be loaded; it is left out", entry.value)


def register(plugin: object, name: str | None = None) -> None:
    """Add a plugin: a module, a class instance, anything with `@hookimpl` functions."""
    _manager().register(plugin, name)
    _callers.cache_clear()


def unregister(plugin: object) -> None:
    """Remove a plugin that `register` added."""
    _manager().unregister(plugin)
    _callers.cache_clear()


@cache
def _callers(hook: str) -> pluggy.HookCaller | None:
    caller: pluggy.HookCaller = getattr(_manager().hook, hook)
    return caller if caller.get_hookimpls() else None


def listening(hook: str) -> bool:
    """Tell whether any plugin implements `hook`."""
    return _callers(hook) is not None


def first(hook: str, request: object) -> Any:
    """Return the first answer that is not None, or None."""
    caller = _callers(hook)
    return caller(request=request) if caller else None


def notify(hook: str, **arguments: object) -> list[Any]:
    """Tell every implementation, and return the answers that are not None.

    One that raises is logged and stops none of the others.
    """
    caller, answers = _callers(hook), []
    for impl in caller.get_hookimpls() if caller else ():
        try:
            answers.append(impl.function(*(arguments[name] for name in impl.argnames)))
        except Exception:  # noqa: BLE001  whatever a plugin may raise
            _log.exception("Plugin %r failed in %s", impl.plugin_name, hook)
    return [answer for answer in answers if answer is not None]
