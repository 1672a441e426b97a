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
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache, wraps
from time import monotonic
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
from budget_core.session import budget as budgets
from budget_core.session.policy import Report
from budget_core.session.recording import is_settled
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
T = TypeVar("T")


class _Session(BudgetSession):
    """A session in which what is recorded of one name is a loop, as in the other library.

    Calls that are held before they are sent are known by their arguments, as everywhere.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._seen: dict[str, deque[float]] = {}
        self._seen_lock = threading.RLock()  # reentrant: a finalizer may run in here

    def track(
        self,
        result: T = None,  # type: ignore[assignment]
        cost: Money = 0,
        tool_name: str | None = None,
        *,
        arguments: Any = None,
    ) -> T:
        """Record as `BudgetSession.track` does; a tool that is called too often raises."""
        super().track(result, cost, tool_name or "tool", arguments=arguments)
        if tool_name not in {None, "tool"}:
            self._check(str(tool_name), result)
        return result

    def track_tool(
        self, cost: Money = 0, tool_name: str | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate as `BudgetSession.track_tool` does; a tool that runs too often raises."""
        decorate = super().track_tool(cost, tool_name)

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            name, paid = tool_name or function.__name__, decorate(function)
            if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
                return paid

            async def acall(*args: Any, **kwargs: Any) -> Any:
                self._check(name, result := await paid(*args, **kwargs))
                return result

            def call(*args: Any, **kwargs: Any) -> Any:
                self._check(name, result := paid(*args, **kwargs))
                return result

            return wraps(function)(acall if inspect.iscoroutinefunction(function) else call)

        return watched

    def wrap(self, response: T, *, arguments: Any = None) -> T:
        """Record as `BudgetSession.wrap` does; a model that is asked too often raises."""
        wrapped = super().wrap(response, arguments=arguments)
        model = getattr(response, "model", None)
        if isinstance(model, str) and wrapped is response and not is_settled(response):
            self._check(model, response)
        return wrapped

    def _check(self, name: str, result: Any) -> None:
        if error := self._repeated(name):
            error.result = result
            raise error

    def _repeated(self, name: str) -> LoopDetected | None:
        most, window = self.policy.max_repeated_calls, self.policy.loop_window_seconds
        if most is None:
            return None
        with self._seen_lock:
            seen = self._seen.setdefault(name, deque(maxlen=most))
            seen.append(monotonic())
            if len(seen) < most or seen[-1] - seen[0] > window:
                return None
        error = LoopDetected(name, most, window)
        self.emit("loop_detected", key=name, count=most, window=window)
        self._log.ask(self.policy.on_loop_detected)
        if self.policy.mode != "enforce":
            return None
        self._log.terminated_by = "loop_detected"
        return error


@cache
def _watching(kind: type[BudgetSession]) -> type[BudgetSession]:
    return _Session if kind is BudgetSession else type(kind.__name__, (_Session, kind), {})


class AgentBudget(budgets.AgentBudget):
    """`budget_core.AgentBudget`, whose sessions also know loops of `track` and `wrap` by name."""

    def session(
        self, name: str | None = None, *, kind: type[BudgetSession] = BudgetSession, **policy: Any
    ) -> BudgetSession:
        """Open a session with this budget; see `budget_core.AgentBudget.session`."""
        made: Any = kind  # a class can be hashed, which mypy doubts of one with attributes
        return super().session(name, kind=_watching(made), **policy)

    async_session = session


class _Begun(NamedTuple):
    """A session of `init`, and the task or thread that began it."""

    session: BudgetSession
    owner: weakref.ref[Any]


_begun: ContextVar[_Begun | None] = ContextVar("budget_compat_begun", default=None)


def init(
    budget: Money | Limit | budgets.AgentBudget,
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
    if not isinstance(budget, budgets.AgentBudget):
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
