"""Drop-in mode for CrewAI: agents' limits, tools and tasks in sessions of `budget_core.init`.

Imports nothing of CrewAI until the program does, and opens nothing until a crew runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from budget_core.hooks import DropinRequest, hookimpl
from budget_core.runtime.imports import when_imported
from budget_crewai import active

if TYPE_CHECKING:
    from budget_core import BudgetSession

_FRAMEWORK: Final = "crewai"
_PAYER: Final = EntryPoint("payer", "budget_crewai.middleware:CrewAIBudgetMiddleware", "")
_log = logging.getLogger("budget_crewai")


@hookimpl
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    """Watch crews wherever the session of `request` pays, once CrewAI is there."""
    if find_spec(_FRAMEWORK) is None:
        return None
    active.watching[request.session] = active.Watch(request.session, request.agents, _PAYER)
    if _FRAMEWORK in sys.modules:
        _install(None)
    else:
        _await_import()
    return partial(_end, request.session)


@cache
def _await_import() -> None:
    when_imported(_FRAMEWORK, _install)


def _install(_module: object) -> None:
    try:
        from budget_crewai.models import install  # noqa: PLC0415  imports much of CrewAI

        install()
    except Exception:  # noqa: BLE001  the program's own import must not fail for it
        _log.exception("Sessions of init() could not join CrewAI; their limits hold there")


def _end(session: BudgetSession) -> None:
    watch = active.watching.pop(session, None)
    if watch is not None:
        watch.end()
