"""The one plugin manager: what is plugged in, by whom, and what was left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint
from inspect import iscoroutinefunction
from threading import RLock
from typing import Final, NamedTuple

import pluggy

from budget_core.runtime.forks import in_child
from budget_core.runtime.plugins.installed import (
    DISABLE,
    installed,
    is_disabled,
    is_importing,
    package_of,
)
from budget_core.runtime.plugins.markers import PROJECT

_SPECS: Final = "budget_core.hooks"
_BUILT_IN: Final = (
    "budget_core.session.house_rules",
    "budget_core.ledger.resolve",
    "budget_core.money.prices.price_file",
    "budget_core.money.prices.lookup",
    "budget_core.sdk.installing",
    "budget_core.calls.tokenizers",
)
"""Plugged in by their names, as a program may be shipped without the metadata of packages."""
_log = logging.getLogger("budget_core")
_made: Final[dict[str, _Plugins]] = {}
_lock = RLock()
"""Held while the manager's own lists change, and never while a plugin is asked or imported."""
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
    """The manager, and what was found beside it.

    Attributes:
        waiting: the installed plugins that are still to be added.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        specs = vars(import_module(_SPECS))
        hooks = {name: spec for name, spec in specs.items() if name.startswith("budget_")}
        self.manager.add_hookspecs(type("Hooks", (), hooks))
        self._left_out: list[PluginInfo] = []
        self._added: dict[str, EntryPoint] = {}
        for name in _BUILT_IN:
            self.manager.register(import_module(name), name)
        self.waiting = list(dict.fromkeys(installed()))

    def load(self) -> None:
        """Add what is installed, but for plugins in the middle of their own import."""
        for entry in tuple(self.waiting):
            problem = f"disabled by {DISABLE}"
            if not is_disabled(entry):
                try:
                    if is_importing(entry):
                        continue
                    self._add(entry, entry.load())
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001  whatever a package may raise
                    text = "The installed plugin %r could not be loaded; it is left out"
                    _log.exception(text, entry.value)
                    problem = f"{type(error).__name__}: {error}"
                else:
                    continue
            self._leave_out(entry, problem)
        if not self.waiting:
            _changed()

    def _add(self, entry: EntryPoint, plugin: object) -> None:
        with _lock:
            if entry not in self.waiting:
                return  # another thread was quicker
            # two may have chosen the same name
            name = entry.value if self.manager.has_plugin(entry.name) else entry.name
            checked(self.manager, plugin, name)
            self.waiting.remove(entry)
            self._added[name] = entry

    def _leave_out(self, entry: EntryPoint, problem: str) -> None:
        with _lock:
            if entry in self.waiting:
                self.waiting.remove(entry)
                info = PluginInfo(entry.name, package_of(entry), entry.value, (), problem)
                self._left_out.append(info)

    def infos(self) -> Iterator[PluginInfo]:
        for name, plugin in self.manager.list_name_plugin():
            hooks = tuple(caller.name for caller in self.manager.get_hookcallers(plugin) or ())
            where = getattr(plugin, "__name__", None) or type(plugin).__qualname__
            source = "built in" if where.startswith(f"{PROJECT}.") else "this process"
            if name in self._added:
                source = package_of(self._added[name])
            yield PluginInfo(name, source, where, hooks)
        yield from self._left_out


def checked(manager: pluggy.PluginManager, plugin: object, name: str | None) -> None:
    """Register a plugin, or raise for what in it is no hook, and leave it out."""
    manager.register(plugin, name)
    try:
        manager.check_pending()
        _check_not_awaited(manager, plugin)
    except pluggy.PluginValidationError:
        manager.unregister(plugin)
        raise


def _check_not_awaited(manager: pluggy.PluginManager, plugin: object) -> None:
    for caller in manager.get_hookcallers(plugin) or ():
        for impl in caller.get_hookimpls():
            if impl.plugin is plugin and iscoroutinefunction(impl.function):
                told = f"{caller.name} is called and not awaited; got a coroutine function"
                raise pluggy.PluginValidationError(plugin, told)


def plugins() -> list[PluginInfo]:
    """Return what is plugged in, and what was left out."""
    found = loaded()
    with _lock:
        return list(found.infos())


def register(plugin: object, name: str | None = None) -> None:
    """Add a plugin: a module, a class instance, anything with `@hookimpl` functions.

    Raises:
        pluggy.PluginValidationError: it implements what is no hook, or with other arguments.
    """
    manager = loaded().manager
    with _lock:
        checked(manager, plugin, name)
    _changed()


def unregister(plugin: object) -> None:
    """Remove a plugin that `register` added; twice is once."""
    manager = loaded().manager
    with _lock:
        if manager.is_registered(plugin):
            manager.unregister(plugin)
    _changed()


def on_change(action: Callable[[], None]) -> None:
    """Call `action` whenever a plugin comes or goes."""
    _on_change.append(action)


def loaded() -> _Plugins:
    """Return what is plugged in, with what is installed by now."""
    # under no lock, as what is imported here may ask for this again; the first that is made counts
    found = _made.get(PROJECT) or _made.setdefault(PROJECT, _Plugins())
    if found.waiting:
        found.load()
    return found


def _changed() -> None:
    for action in _on_change:
        action()


def _fresh() -> None:
    global _lock  # noqa: PLW0603  another thread may have held it when this process was forked
    _lock = RLock()


in_child(_fresh)
