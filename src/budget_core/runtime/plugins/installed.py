"""The plugins of installed packages, by their entry points."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Final

from budget_core.runtime.plugins.markers import PROJECT

DISABLE: Final = "BUDGET_DISABLE_PLUGINS"
"""The variable that keeps plugins out: "1" or "true" for all, or their names, comma-separated."""

_ALL: Final = frozenset({"1", "true", "yes", "on", "all"})
_log = logging.getLogger("budget_core")


def installed() -> Iterable[EntryPoint]:
    try:
        return entry_points(group=PROJECT)
    except Exception:  # noqa: BLE001  one package with an unreadable list hides those of all
        _log.exception("An installed package lists its entry points in a way that is none")
        return [entry for package in distributions() for entry in _entries(package)]


def is_disabled(entry: EntryPoint) -> bool:
    """Return whether the environment keeps a plugin out."""
    off = os.environ.get(DISABLE, "")
    return off.strip().lower() in _ALL or entry.name in map(str.strip, off.split(","))


def is_importing(entry: EntryPoint) -> bool:
    """Import a plugin's module; return whether this very thread is in the middle of that."""
    spec = import_module(entry.module).__spec__
    return bool(getattr(spec, "_initializing", False))


def package_of(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def _entries(package: Distribution) -> Iterable[EntryPoint]:
    with suppress(Exception):
        return package.entry_points.select(group=PROJECT)
    return ()
