"""What `agentbudget` documents, enforced by this package.

>>> import budget_compat.agentbudget as agentbudget
>>> session = agentbudget.init("$5.00")
>>> agentbudget.spent()
0.0
>>> agentbudget.teardown()["total_spent"]
0.0

The classes are this package's own; only the drop-in functions differ from its, where the other
library answers another way when nothing is initialised. docs/migrating.md lists the differences.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeVar

from budget_core.calls import context as contexts
from budget_core.errors import (
    AgentBudgetError,
    BudgetExhausted,
    InvalidBudget,
    InvalidCost,
    LoopDetected,
)
from budget_core.money.limits import Limit
from budget_core.money.prices.lookup import register_model, register_models
from budget_core.money.usd import Money
from budget_core.sdk import dropin
from budget_core.sdk.claims import Binding
from budget_core.sdk.clients.wrap import attach
from budget_core.sdk.dropin import get_session, track
from budget_core.session.budget import AgentBudget
from budget_core.session.policy import Report
from budget_core.session.session import AsyncBudgetSession, BudgetSession

__all__ = [
    "AgentBudget",
    "AgentBudgetError",
    "AsyncBudgetSession",
    "BudgetExhausted",
    "BudgetSession",
    "InvalidBudget",
    "InvalidCost",
    "LoopDetected",
    "get_session",
    "init",
    "register_model",
    "register_models",
    "remaining",
    "report",
    "spent",
    "teardown",
    "track",
    "wrap_client",
]


Client = TypeVar("Client")


class _Begun(NamedTuple):
    """A session of `init`, and the task or thread that began it."""

    session: BudgetSession
    owner: weakref.ref[Any]


_begun: ContextVar[_Begun | None] = ContextVar("budget_compat_begun", default=None)


def init(
    budget: Money | Limit | AgentBudget,
    *,
    session_id: str | None = None,
    scope: Literal["context", "process"] = "context",
    agents: Mapping[str, Money] | None = None,
    **options: Any,
) -> BudgetSession:
    """Put a budget on every SDK call made from here on; it replaces what this task began before.

    Args:
        budget: dollars a session may spend: "$5.00", 5.0, 5.
        session_id: the session's id; made up if None.
        scope: see `budget_core.init`.
        agents: see `budget_core.init`.
        **options: everything else that `AgentBudget` takes.

    Returns:
        The session.
    """
    if not isinstance(budget, AgentBudget):
        budget, options = AgentBudget(budget, **options), {}
    teardown()
    session = dropin.init(budget, scope=scope, name=session_id, agents=agents, **options)
    _begun.set(_Begun(session, weakref.ref(_here())))
    return session


def teardown() -> Report | None:
    """End what this task or thread began with `init`, and return the final report, or None."""
    begun = _begun.get()
    if begun is None or begun.owner() is not _here():
        return None
    _begun.set(None)
    return dropin.teardown(begun.session)


def wrap_client(client: Client, session: BudgetSession) -> Client:
    """Let `session` pay for every call of a client, and return that same client.

    `budget_core.wrap_client` leaves the client as it is and returns a copy.
    """
    attach(client, Binding((session,)))
    return client


def spent() -> float:
    """Return the dollars spent so far; 0.0 if there is no session."""
    return 0.0 if _idle() else dropin.spent()


def remaining() -> float | None:
    """Return the dollars that are left; 0.0 if there is no session, None if it has no limit."""
    return 0.0 if _idle() else dropin.remaining()


def report() -> Report | None:
    """Return the report of the session; None if there is no session."""
    return None if _idle() else dropin.report()


def _idle() -> bool:
    """Return whether no session pays here; several that might are no reason to report nothing."""
    return get_session() is None and not contexts.offered()


def _here() -> object:
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:  # no event loop runs in this thread
        return threading.current_thread()
