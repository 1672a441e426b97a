"""The one plugin manager. Without implementations a hook costs nothing: ask `listening` first."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple

import pluggy

from budget_core.hooks import hookspecs
from budget_core.hooks.hookspecs import PROJECT

DISABLE: Final = "BUDGET_DISABLE_PLUGINS"
"""The variable that keeps installed plugins out: "1" for all, or their names, comma-separated."""

_BUILT_IN: Final = (
    "budget_core.house_rules",
    "budget_core.ledger.resolve",
    "budget_core.price_file",
    "budget_core.pricing",
    "budget_core.sdk.known",
    "budget_core.tokenizers",
)
"""Plugged in by their names, as a program may be shipped without the metadata of packages."""
_log = logging.getLogger("budget_core")
_made: Final[dict[str, _Plugins]] = {}
_on_change: Final[list[Callable[[], None]]] = []


class PluginInfo(NamedTuple):
    """A plugin, as ``budget plugins`` lists it.

    Attributes:
        source: the distribution that brings it, with its version; "built in" or "this process".
        hooks: which it implements.
        problem: why it is left out, None if it is not.
    """

    name: str
    source: str
    where: str
    hooks: tuple[str, ...]
    problem: str | None = None


class _Plugins:
    """The manager, and what was found beside it."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.left_out: list[PluginInfo] = []
        self.sources: dict[str, str] = {}
        for name in _BUILT_IN:
            self.manager.register(import_module(name), name)
        off = os.environ.get(DISABLE, "")
        for entry in entry_points(group=PROJECT):
            self._load(entry, off)

    def _load(self, entry: EntryPoint, off: str) -> None:
        """Add an installed plugin; one that cannot be imported breaks nobody's calls."""
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
        problem = f"disabled by {DISABLE}"
        if not _is_off(entry.name, off):
            try:
                self._register(entry)
            except Exception as error:  # noqa: BLE001  whatever somebody's package may raise
                text = "The installed plugin %r could not be loaded; it is left out"
                _log.exception(text, entry.value)
                problem = f"{type(error).__name__}: {error}"
            else:
                self.sources.setdefault(entry.name, source)
                return
        self.left_out.append(PluginInfo(entry.name, source, entry.value, (), problem))

    def _register(self, entry: EntryPoint) -> None:
        if not self.manager.has_plugin(entry.name):
            checked(self.manager, entry.load(), entry.name)

    def infos(self) -> Iterator[PluginInfo]:
        for name, plugin in self.manager.list_name_plugin():
            hooks = tuple(caller.name for caller in self.manager.get_hookcallers(plugin) or ())
            where = getattr(plugin, "__name__", None) or type(plugin).__qualname__
            ours = "built in" if where.startswith(f"{PROJECT}.") else "this process"
            yield PluginInfo(name, self.sources.get(name, ours), where, hooks)
        yield from self.left_out


def checked(manager: pluggy.PluginManager, plugin: object, name: str | None) -> None:
    """Register a plugin, or raise for what in it is no hook, and leave it out."""
    manager.register(plugin, name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        manager.unregister(plugin)
        raise


def plugins() -> list[PluginInfo]:
    """Return what is plugged in, and what was left out."""
    return list(_plugins().infos())


def register(plugin: object, name: str | None = None) -> None:
    """Add a plugin: a module, a class instance, anything with `@hookimpl` functions.

    Raises:
        pluggy.PluginValidationError: it implements what is no hook, or with other arguments.
    """
    checked(_plugins().manager, plugin, name)
    _changed()


def unregister(plugin: object) -> None:
    """Remove a plugin that `register` added."""
    _plugins().manager.unregister(plugin)
    _changed()


def on_change(action: Callable[[], None]) -> None:
    """Call `action` whenever a plugin comes or goes."""
    _on_change.append(action)


def listening(hook: str) -> bool:
    """Tell whether any plugin implements `hook`."""
    return bool(_implementations(hook))


def first(
    hook: str, request: object, *, passing: type[Exception] | tuple[type[Exception], ...] = ()
) -> Any:
    """Return the first answer that is not None, or None; who registered last is asked first.

    Args:
        hook: its name.
        request: what it is asked with.
        passing: errors that are raised; any other is logged, and the next one is asked.
    """
    return next(_answers(hook, request, passing), None)


def every(
    hook: str, request: object, *, passing: type[Exception] | tuple[type[Exception], ...] = ()
) -> list[Any]:
    """Ask every implementation, and return the answers that are not None (see `first`)."""
    return list(_answers(hook, request, passing))


def _answers(
    hook: str, request: object, passing: type[Exception] | tuple[type[Exception], ...]
) -> Iterator[Any]:
    for impl in _implementations(hook):
        try:
            answer = impl.function(*(request,) * len(impl.argnames))
        except passing:
            raise
        except Exception:  # noqa: BLE001  whatever a plugin may raise
            _log.exception("Plugin %r failed in %s", impl.plugin_name, hook)
        else:
            if answer is not None:
                yield answer


@cache
def _implementations(hook: str) -> tuple[pluggy.HookImpl, ...]:
    caller: pluggy.HookCaller = getattr(_plugins().manager.hook, hook)
    impls = reversed(caller.get_hookimpls())
    return tuple(impl for impl in impls if not (impl.wrapper or impl.hookwrapper))


def _plugins() -> _Plugins:
    # no lock: what is imported here may ask for this again; the first one that is made counts
    return _made.get(PROJECT) or _made.setdefault(PROJECT, _Plugins())


def _changed() -> None:
    _implementations.cache_clear()
    for action in _on_change:
        action()


def _is_off(name: str, off: str) -> bool:
    return off == "1" or name in (one.strip() for one in off.split(","))
