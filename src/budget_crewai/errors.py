"""The class that lets an error of ours through CrewAI, which swallows or retries all others."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from budget_core import AgentBudgetError


@cache
def stop() -> type[BaseException]:
    """Return a `HookAborted` to mix into errors: CrewAI lets it stop the crew, as it is."""
    from crewai.hooks.dispatch import HookAborted  # noqa: PLC0415  loaded by the first budget

    class CrewStopped(HookAborted):
        """Ends a crew at once. Also a budget error, which says why."""

        source: Any = "budget-suite"

        @property
        def reason(self) -> str:  # type: ignore[override]
            return str(self)

    return CrewStopped


def stopping(error: AgentBudgetError) -> AgentBudgetError:
    return error.recast(stop())


def plain(error: AgentBudgetError) -> AgentBudgetError:
    """Return the error as one that CrewAI takes for a failure of the call, and works around."""
    return copy(error) if isinstance(error, stop()) else error  # a copy is of the plain class
