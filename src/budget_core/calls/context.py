"""What is going on in this context (thread or task): open calls, active sessions.

An open LLM call is visible to what runs inside it, so that an SDK guard beneath a framework
finds the call that the framework opened instead of holding the same money twice. A tool's call
hides it: what a tool asks of a model is money of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from budget_core.calls.call import Call
    from budget_core.session.session import BudgetSession

P = ParamSpec("P")
T = TypeVar("T")

_calls: ContextVar[tuple[Call, ...]] = ContextVar("budget_calls", default=())
_sessions: ContextVar[tuple[BudgetSession, ...]] = ContextVar("budget_sessions", default=())
_guarded: ContextVar[tuple[BudgetSession, ...]] = ContextVar("budget_guarded", default=())
_finalizing: ContextVar[tuple[BudgetSession, ...]] = ContextVar("budget_finalizing", default=())
_offered: tuple[BudgetSession, ...] = ()
_everywhere: tuple[BudgetSession, ...] = ()
_let_go: WeakSet[BudgetSession] = WeakSet()
_offering = RLock()  # reentrant: a finalizer may run in here


def publish(call: Call) -> None:
    """Make an open call visible in this context and in those it starts."""
    before = _calls.get()
    _calls.set((*(known for known in before if not known.over), call) if before else (call,))


def retire(call: Call) -> None:
    """Take a call out of this context; elsewhere it is passed over because it is over."""
    if call in (calls := _calls.get()):
        _calls.set(tuple(known for known in calls if known is not call and not known.over))


def open_calls() -> tuple[Call, ...]:
    """Return the calls inside which this code runs, outermost first.

    Not those of an SDK's guard: what a program does while it reads a stream is no part of that.
    """
    calls = _calls.get()
    return tuple(c for c in calls if not c.over and not c.guarded) if calls else calls


def held_calls() -> tuple[Call, ...]:
    """Return all calls that were opened in this context and are still held."""
    return tuple(call for call in _calls.get() if not call.over)


def enclosing_calls() -> tuple[Call, ...]:
    """Return the LLM calls to which a request made here belongs; none inside a tool's call."""
    if not (calls := open_calls()):
        return calls
    start = max((at for at, call in enumerate(calls, 1) if call.kind == "tool"), default=0)
    return calls[start:]


def apart(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function in which no call around it is visible, so that it pays for its own."""

    @contextmanager
    def hidden() -> Iterator[None]:
        token = _calls.set(tuple(call for call in _calls.get() if call.kind == "tool"))
        try:
            yield
        finally:
            _calls.reset(token)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with hidden():
            return function(*args, **kwargs)

    @wraps(function)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        with hidden():
            return await cast("Any", function(*args, **kwargs))

    return cast("Callable[P, T]", run_async) if iscoroutinefunction(function) else run


def tool_sessions() -> tuple[BudgetSession, ...]:
    """Return the sessions in whose tools this code runs: they pay for what a tool asks, too."""
    return tuple(call.session for call in open_calls() if call.kind == "tool")


def current_session() -> BudgetSession | None:
    """Return the session that was entered last in this context, else the whole process's.

    Closed ones are passed over; None if there is no other.
    """
    return next((s for s in reversed(_everywhere + _sessions.get()) if not s.closed), None)


def enter(session: BudgetSession) -> None:
    """Make `session` the one in which budgets opened here become children."""
    _sessions.set((*_open(_sessions.get()), session))


def leave(session: BudgetSession) -> None:
    """Undo `enter`; in a context that never saw it, do nothing."""
    _sessions.set(_without(_sessions.get(), session))


def guarded() -> tuple[BudgetSession, ...]:
    """Return the sessions that claim every SDK call in this context.

    One that was closed elsewhere still claims them, and refuses: what outlives a budget's block (a
    task that nobody awaited) must not spend without it. Not so one that was let go everywhere.
    """
    return _claiming(_guarded.get())


def guard(session: BudgetSession) -> None:
    """Let `session` claim every SDK call in this context and in those it starts."""
    _guarded.set((*_claiming(_guarded.get()), session))


def unguard(session: BudgetSession, *, everywhere: bool = False) -> None:
    """Undo `guard`.

    Args:
        session: that claims no more.
        everywhere: nor in contexts that inherited it, once it is closed.
    """
    _guarded.set(_without(_guarded.get(), session))
    if everywhere:
        _let_go.add(session)


def offer(session: BudgetSession, *, everywhere: bool = False) -> None:
    """Let `session` pay, in every thread of this process, for SDK calls that nobody claims.

    Args:
        session: who pays.
        everywhere: it is the budget of the whole process: what is opened in any context becomes
            its child, and it pays where others that are offered know nothing of each other.
    """
    global _offered, _everywhere  # noqa: PLW0603  replaced whole: readers take no lock
    with _offering:
        _offered = (*_offered, session)
        if everywhere:
            _everywhere = (*_everywhere, session)


def withdraw(session: BudgetSession) -> None:
    """Undo `offer`."""
    global _offered, _everywhere  # noqa: PLW0603  see `offer`
    with _offering:
        _offered = _without(_offered, session)
        _everywhere = _without(_everywhere, session)


def offered(*, everywhere: bool = False) -> tuple[BudgetSession, ...]:
    """Return the sessions that pay for what nobody claims, oldest first, closed ones left out.

    Args:
        everywhere: only those of the whole process.
    """
    return _open(_everywhere if everywhere else _offered)


class Bindings(NamedTuple):
    """What a context knows of sessions, to be carried into a thread that inherits nothing."""

    sessions: tuple[BudgetSession, ...]
    guarded: tuple[BudgetSession, ...]


def bindings() -> Bindings:
    """Return this context's sessions."""
    return Bindings(_sessions.get(), _guarded.get())


@contextmanager
def bound(to: Bindings) -> Iterator[None]:
    """Work with the sessions of another context inside."""
    entered, claiming = _sessions.set(to.sessions), _guarded.set(to.guarded)
    try:
        yield
    finally:
        _guarded.reset(claiming)
        _sessions.reset(entered)


def finalizing() -> tuple[BudgetSession, ...]:
    """Return the sessions that are spending their finalization reserve in this context."""
    return _finalizing.get()


def set_finalizing(sessions: tuple[BudgetSession, ...]) -> None:
    """Replace what `finalizing` returns."""
    _finalizing.set(sessions)


def _open(sessions: tuple[BudgetSession, ...]) -> tuple[BudgetSession, ...]:
    return tuple(s for s in sessions if not s.closed) if sessions else sessions


def _claiming(sessions: tuple[BudgetSession, ...]) -> tuple[BudgetSession, ...]:
    return tuple(s for s in sessions if not (s.closed and s in _let_go)) if sessions else sessions


def _without(sessions: tuple[BudgetSession, ...], gone: BudgetSession) -> tuple[BudgetSession, ...]:
    """Drop the last occurrence of `gone`."""
    for at in range(len(sessions) - 1, -1, -1):
        if sessions[at] is gone:
            return sessions[:at] + sessions[at + 1 :]
    return sessions
