"""Turning the guards on and off: for as long as there is a lease on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from threading import RLock
from typing import Any

from budget_core.errors import AgentBudgetError, GuardError
from budget_core.runtime.imports import when_imported
from budget_core.runtime.plugins import asking
from budget_core.runtime.plugins.markers import hookimpl

_lock = RLock()  # reentrant: a guard imports, and an import may install a guard
_leases = 0
_watched: set[str] = set()
_installed: dict[str, Any] = {}


class GuardLease:
    """Keeps every SDK guarded, those imported already and those to come, until it is released.

    Raises:
        GuardError: an SDK's insides are not what its guard knows. So does the import of one that
            is imported later.
    """

    def __init__(self) -> None:
        global _leases  # noqa: PLW0603  counted under the lock
        guards = _guards()
        for sdk in guards:
            _watch(sdk)
        self._held = True
        with _lock:
            _leases += 1
            try:
                for sdk in guards:
                    _guard(sdk)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """End the lease; the last one takes all guards out again. Twice is once."""
        global _leases  # noqa: PLW0603  counted under the lock
        with _lock:
            if not self._held:
                return
            self._held = False
            _leases -= 1
            if not _leases:
                while _installed:
                    _installed.popitem()[1].uninstall()


def guard_loaded() -> None:
    """Guard every SDK for as long as the process lives; cheap to call again and again."""
    if not _forever:
        _forever.append(GuardLease())


def is_guarded(sdk: str) -> bool:
    """Return whether an SDK is guarded, so that it is capped and settled without a framework."""
    return sdk in _installed


def guarded() -> tuple[str, ...]:
    """Return the SDKs that are guarded now, by their modules."""
    return tuple(_installed)


_forever: list[GuardLease] = []


@asking.until_change
def _guards() -> dict[str, str]:
    guards: dict[str, str] = {}

    def register(sdk: str, guard: str) -> None:
        guards.setdefault(sdk, guard)

    asking.every("budget_guards", GuardsRequest(register))
    return guards


def _watch(sdk: str) -> None:
    """Hear of an SDK's import, and wait for one that is under way in another thread."""
    if sdk in sys.modules:
        import_module(sdk)
    elif sdk not in _watched:
        _watched.add(sdk)
        when_imported(sdk, partial(_imported, sdk))


def _imported(sdk: str, _module: object) -> None:
    with _lock:
        if _leases:
            _guard(sdk, importing=True)


def _guard(sdk: str, *, importing: bool = False) -> None:
    module = sys.modules.get(sdk)
    if module is None or sdk in _installed:
        return
    if not importing and getattr(module.__spec__, "_initializing", False):
        return  # another thread imports it, and waits for our lock when it is done
    if (home := _guards().get(sdk)) is None:
        return  # its plugin is gone
    try:
        guard = EntryPoint(sdk, home, "").load()
        guard.install()
    except AgentBudgetError:
        raise
    except Exception as error:
        raise GuardError(
            f"{sdk} cannot be guarded by {home!r}, as a plugin wants it: {error}. Nothing would be "
            "enforced on its calls. `budget plugins` lists who registers guards."
        ) from error
    _installed[sdk] = guard


@dataclass(frozen=True, slots=True)
class GuardsRequest:
    """Call `register` with an SDK's module and where its guard is, as in "package.module:GUARD"."""

    register: Callable[[str, str], None]


@hookimpl
def budget_guards(request: GuardsRequest) -> None:
    request.register("openai", "budget_core.sdk.openai:GUARD")
    request.register("anthropic", "budget_core.sdk.anthropic:GUARD")
    request.register("google.genai", "budget_core.sdk.google.guard:GUARD")
