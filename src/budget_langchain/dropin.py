"""The plugin for LangChain: drop-in mode, and reading the usage of results.

In sessions of `budget_core.init` agents have their limits, and tools are counted. Imports nothing
of LangChain until the program does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from budget_core import BudgetSession
from budget_core.frameworks.integration import paying
from budget_core.hooks import DropinRequest, hookimpl
from budget_core.runtime.imports import when_imported
from budget_langchain.usage import budget_usage

if TYPE_CHECKING:
    from budget_langchain.callback import LangChainBudgetCallback

_FRAMEWORK: Final = "langchain_core"
_log = logging.getLogger("budget_langchain")
_lock = RLock()
_watches: dict[BudgetSession, _Watch] = {}
_slots: list[_Slot] = []


@hookimpl
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    """Guard LangChain's runs wherever the session of `request` pays, once LangChain is there."""
    if find_spec(_FRAMEWORK) is None:
        return None
    watch = _Watch(request)
    try:
        watch.begin()
    except BaseException:
        watch.end()
        raise
    return watch.end


class _Watch:
    """One session of `init`, and the handler of its runs: None until LangChain is imported."""

    def __init__(self, request: DropinRequest) -> None:
        self.handler: LangChainBudgetCallback | None = None
        self._request = request
        self._depth = 1

    def begin(self) -> None:
        """Watch at once, or from LangChain's import on."""
        _watches[self._request.session] = self
        self._depth = len(_in_force())
        if _FRAMEWORK in sys.modules:
            self.wake()
        else:
            _await_import()

    def wake(self) -> None:
        """Make the handler, and let LangChain ask for it."""
        # imported under no lock of ours: another thread may be in the middle of this import
        from langchain_core.tracers.context import register_configure_hook  # noqa: PLC0415

        from budget_langchain.callback import LangChainBudgetCallback  # noqa: PLC0415

        with _lock:
            if self.handler is None:
                self.handler = LangChainBudgetCallback(
                    session=self._request.session, agents=self._request.agents, guard_sdks=False
                )
            while len(_slots) < self._depth:
                _slots.append(_Slot(len(_slots)))
                slot: Any = _slots[-1]
                register_configure_hook(slot, inheritable=True)

    def end(self) -> None:
        """Watch no longer; what LangChain has not ended, the session ends when it is closed."""
        _watches.pop(self._request.session, None)


class _Slot:
    """What LangChain takes for a context variable that holds a handler, and asks at every run.

    A real one would be set in the context in which LangChain happens to be imported, and would
    not be seen in threads, where the session pays all the same.
    """

    def __init__(self, at: int) -> None:
        self._at = at

    def get(self) -> LangChainBudgetCallback | None:
        """Return the handler of the session that is the n-th in force here, from the innermost."""
        watches = _in_force() if _watches else ()
        return watches[self._at].handler if self._at < len(watches) else None


def _in_force() -> list[_Watch]:
    """Return the watches on the sessions that pay here, and on those around them."""
    return [watch for session in paying() if (watch := _watches.get(session)) is not None]


@cache
def _await_import() -> None:
    when_imported(_FRAMEWORK, _imported)


def _imported(_module: object) -> None:
    for watch in tuple(_watches.values()):
        try:
            watch.wake()
        except Exception:  # noqa: BLE001  the program's own import must not fail for it
            _log.exception("A session of init() could not join LangChain; its limit holds there")


__all__ = ["budget_dropin", "budget_usage"]
