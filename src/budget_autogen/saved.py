"""Trackers as JSON-ready models, for components that are dumped and loaded again."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from budget_autogen.saved_sessions import key_of, restore, save
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core.runtime.weak import WeakValues

if TYPE_CHECKING:
    from budget_core import BudgetSession

_trackers: WeakValues[str, AutoGenBudgetTracker] = WeakValues()
_lock = RLock()


class SavedTracker(BaseModel):
    """A tracker, its session, and the sessions of agents with limits of their own.

    An `on_exhausted` that is a callable is not written down; "finalize" stands in for it.
    """

    session: dict[str, Any]
    agents: dict[str, dict[str, Any]]
    on_exhausted: Literal["finalize", "raise"]
    wrap_up: str
    tool_costs: dict[str, str]
    guard_sdks: bool


def save_tracker(tracker: AutoGenBudgetTracker) -> SavedTracker:
    """Return all that it takes to go on with a tracker elsewhere."""
    with _lock:
        _trackers[key_of(tracker.session)] = tracker
    return SavedTracker(
        session=save(tracker.session),
        agents={agent: save(session) for agent, session in tracker.agents.items()},
        on_exhausted="raise" if tracker.on_exhausted == "raise" else "finalize",
        wrap_up=tracker.wrap_up,
        tool_costs={tool: str(cost) for tool, cost in tracker.tool_costs.items()},
        guard_sdks=tracker.guard_sdks,
    )


def load_tracker(saved: SavedTracker) -> AutoGenBudgetTracker:
    """Return the tracker that was saved: itself while it is in use, else a new one like it."""
    with _lock:
        session = restore(saved.session)
        known = _trackers.get(key_of(session))
        if known is not None and known.session is session:
            return known
        tracker = AutoGenBudgetTracker(
            session=session,
            on_exhausted=saved.on_exhausted,
            wrap_up=saved.wrap_up,
            tool_costs=saved.tool_costs,
            guard_sdks=saved.guard_sdks,
        )
        sessions: dict[str, BudgetSession] = {
            agent: restore(session) for agent, session in saved.agents.items()
        }
        tracker.agents.update(sessions)
        _trackers[key_of(session)] = tracker
        return tracker
