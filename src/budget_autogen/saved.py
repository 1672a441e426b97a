"""Trackers and sessions as JSON-ready models, for components that are dumped and loaded again."""

from __future__ import annotations

import uuid
from dataclasses import fields
from decimal import Decimal
from threading import RLock
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core.errors import InvalidBudget
from budget_core.ledger import MemoryLedger, new_id
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits
from budget_core.runtime.weak import WeakValues
from budget_core.session.policy import Policy
from budget_core.session.session import BudgetSession

_CALLED: Final = frozenset(
    {
        "on_soft_limit", "on_hard_limit", "on_loop_detected", "on_warning", "on_truncated",
        "listeners", "risk_detectors",
    }
)  # fmt: skip
_SETTINGS: Final = tuple(f.name for f in fields(Policy) if f.name not in _CALLED)
_keys: WeakKeyDictionary[BudgetSession, str] = WeakKeyDictionary()
_sessions: WeakValues[str, BudgetSession] = WeakValues()
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


def save(session: BudgetSession) -> dict[str, Any]:
    """Return all that it takes to go on with a session elsewhere: limits, settings, and spend.

    Callbacks, listeners and detectors are left out.

    Raises:
        InvalidBudget: its ledger is neither in memory nor known by a URL.
    """
    if not isinstance(session.ledger, MemoryLedger):
        raise InvalidBudget(
            f"Session {session.id!r} keeps its money in {session.ledger!r}, which cannot be "
            "written down. Dump agents whose budget is in memory."
        )
    settings = {name: getattr(session.policy, name) for name in _SETTINGS}
    if isinstance(settings["finalization_reserve"], Decimal):
        settings["finalization_reserve"] = str(settings["finalization_reserve"])
    return {
        "key": key_of(session),
        "id": session.id,
        "limits": [[x.unit, x.amount, x.period, x.rolling, x.zone] for x in session.limits.every],
        "spent": list(session.balance().spent),
        "state": session.balance().state,
        "settings": {**settings, "warning_thresholds": list(session.policy.warning_thresholds)},
        "parent": save(session.parent) if session.parent is not None else None,
    }


def restore(saved: dict[str, Any]) -> BudgetSession:
    """Return the session that was saved: itself while it is in use, else a new one like it.

    What was spent stays spent, so loading it never gives more money than there was. Loading twice
    in one process gives one session.
    """
    with _lock:
        known = _sessions.get(saved["key"])
        if known is not None and not known.closed:
            return known
        spent = Amounts(*saved["spent"]) if known is None else known.balance().spent
        session = _reopened(saved)
        missing = _difference(spent, session.balance().spent)
        if missing != ZERO:
            session.ledger.charge(new_id(), (session.account,), missing)
        if saved["state"] == "finalized":
            session.standing.conclude()
        elif saved["state"] == "cancelled":
            session.standing.cancel()
        _keys[session], _sessions[saved["key"]] = saved["key"], session
        return session


def key_of(session: BudgetSession) -> str:
    with _lock:
        key = _keys.setdefault(session, uuid.uuid4().hex)
        _sessions[key] = session
        return key


def _reopened(saved: dict[str, Any]) -> BudgetSession:
    parent = restore(saved["parent"]) if saved["parent"] is not None else None
    settings = {**saved["settings"]}
    settings["warning_thresholds"] = tuple(settings["warning_thresholds"])
    limits = Limits(tuple(Limit(*limit) for limit in saved["limits"]))
    session = BudgetSession(
        ledger=MemoryLedger(),  # of its own: what it spent before is in its parent's spend already
        limits=limits,
        policy=Policy(**settings),
        name=saved["id"],
        parent=parent,
    )
    session.standing.limits = limits  # not cut to what its parent has left, once more
    return session


def _difference(more: Amounts, less: Amounts) -> Amounts:
    return Amounts(*(max(0, a - b) for a, b in zip(more, less, strict=True)))
