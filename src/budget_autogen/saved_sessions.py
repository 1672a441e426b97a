"""Sessions as JSON-ready dicts, for frameworks that write their agents down and load them again."""

from __future__ import annotations

import uuid
from dataclasses import fields
from decimal import Decimal
from threading import RLock
from typing import Any, Final
from weakref import WeakKeyDictionary

from budget_core.errors import InvalidBudget
from budget_core.ledger import MemoryLedger, new_id
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits
from budget_core.runtime.weak import WeakValues
from budget_core.session.policy import Policy
from budget_core.session.session import BudgetSession

_CALLED: Final = frozenset(
    {
        "on_soft_limit", "on_hard_limit", "on_loop_detected", "on_warning", "listeners",
        "risk_detectors",
    }
)  # fmt: skip
_SETTINGS: Final = tuple(f.name for f in fields(Policy) if f.name not in _CALLED)
_keys: WeakKeyDictionary[BudgetSession, str] = WeakKeyDictionary()
_sessions: WeakValues[str, BudgetSession] = WeakValues()
_lock = RLock()


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
        if saved["state"] in ("finalized", "cancelled"):
            session.ledger.close(session.account, saved["state"])
        _keys[session], _sessions[saved["key"]] = saved["key"], session
        return session


def key_of(session: BudgetSession) -> str:
    """Return what names a session that is saved, in this process and others."""
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
