"""How an adapter joins `init`: once its framework is imported, and not before."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Final

from budget_core.errors import AgentBudgetError
from budget_core.frameworks.integration import agent_sessions
from budget_core.runtime.imports import when_imported

if TYPE_CHECKING:
    from budget_core.frameworks.integration import Integration
    from budget_core.sdk.dropin import DropinRequest
    from budget_core.session.session import BudgetSession

_log = logging.getLogger("budget_core")
_waiting: Final[dict[str, dict[_Joining, bool]]] = {}
"""By framework, those that join at its import: a session that ends is not kept for it."""

_agents: Final[dict[BudgetSession, dict[str, BudgetSession]]] = {}
"""By session of `init`, what it has opened for agents."""
_opening = Lock()


def join(request: DropinRequest, *, framework: str, adapter: str) -> Callable[[], None] | None:
    """Answer `budget_dropin`: let an adapter watch the session of `request`.

    >>> @hookimpl
    ... def budget_dropin(request):
    ...     return join(request, framework="agents", adapter="my_package.adapter:MyAdapter")

    Args:
        request: which session, and which agents have limits of their own.
        framework: the module after whose import the adapter is loaded; it may be imported already.
        adapter: a class derived from `Integration`, as "package.module:Class".

    Returns:
        What ends it; None where the framework is not installed.
    """
    if find_spec(framework.partition(".")[0]) is None:
        return None
    joining = _Joining(request, adapter)
    if framework in sys.modules:
        joining.wake()
        return joining.end
    waiting = _waiting.setdefault(framework, {})
    waiting[joining] = True
    _await_import(framework)

    def end() -> None:
        waiting.pop(joining, None)
        joining.end()

    return end


@cache
def _await_import(framework: str) -> None:
    when_imported(framework, partial(_imported, framework))


def _imported(framework: str, _module: object) -> None:
    _await_import.cache_clear()  # first: who comes from here on is none of these
    waiting = _waiting[framework]
    for joining in tuple(waiting):
        if waiting.pop(joining, False):
            joining.imported()


class _Joining:
    """One session of `init`, and the adapter that watches it."""

    def __init__(self, request: DropinRequest, adapter: str) -> None:
        self._request: Final = request
        self._adapter: Final = EntryPoint("adapter", adapter, "")
        self._unwatch: Callable[[], None] = lambda: None
        self._over = False

    def wake(self) -> None:
        self._unwatch = self._made().watch()
        if self._over:  # meanwhile, in another thread
            self.end()

    def _made(self) -> Integration:
        front: type[Integration] = self._adapter.load()
        session = self._request.session
        try:
            return front(session=session, agents=_shared(self._request), guard_sdks=False)
        except AgentBudgetError:
            _log.exception(
                "The limits of agents= are not applied by %s; the budget itself holds",
                front.__name__,
            )
            return front(session=session, guard_sdks=False)

    def imported(self) -> None:
        if self._over:
            return
        try:
            self.wake()
        except Exception:  # noqa: BLE001  the program's own import must not fail for it
            _log.exception("%s could not join; the budget itself holds", self._adapter.value)

    def end(self) -> None:
        self._over = True
        self._unwatch()
        _agents.pop(self._request.session, None)


def _shared(request: DropinRequest) -> dict[str, BudgetSession]:
    """Return the agents' sessions: whichever framework an agent is one of, its limit is one."""
    with _opening:
        known = _agents.setdefault(request.session, {})
        new = {name: limit for name, limit in request.agents.items() if name not in known}
        known |= agent_sessions(request.session, new)
        return {name: known[name] for name in request.agents}
