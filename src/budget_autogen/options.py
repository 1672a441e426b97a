"""Which of an agent's keyword arguments describe its budget."""

from __future__ import annotations

import inspect
from typing import Any, Final

from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import AgentBudget
from budget_core.runtime.settings import check_settings, constructors_of

_OPTIONS: Final = frozenset(
    {
        "tracker",
        *inspect.signature(AutoGenBudgetTracker).parameters,
        *inspect.signature(AgentBudget).parameters,
    }
) - {"budget", "max_spend", "name", "options"}


def split(agent: object, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a budget, and the rest, which are the agent's.

    Raises:
        UnknownSetting: one is neither's.
    """
    kind, given = type(agent), options.keys() - {"tracker"}
    own = constructors_of(kind)
    check_settings(given, AutoGenBudgetTracker, AgentBudget, *own, of=kind.__name__)
    budget = {key: value for key, value in options.items() if key in _OPTIONS}
    return budget, {key: value for key, value in options.items() if key not in _OPTIONS}


def tracker_of(budget: Any, options: dict[str, Any]) -> AutoGenBudgetTracker | None:
    """Return the tracker that an agent's arguments describe, None if they describe none.

    Args:
        budget: as given.
        options: as `split` found them.

    Raises:
        TypeError: a tracker was given, and something else that describes one.
    """
    if "tracker" not in options:
        return AutoGenBudgetTracker(budget, **options) if options or budget is not None else None
    if budget is not None or len(options) > 1:
        raise TypeError("tracker= brings its own budget: pass nothing else that describes one")
    tracker = options["tracker"]
    if tracker is not None and not isinstance(tracker, AutoGenBudgetTracker):
        raise TypeError(f"tracker= takes an AutoGenBudgetTracker; got {tracker!r}")
    return tracker
