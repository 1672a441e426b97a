"""What is going on in this context (thread or task): open calls, and who pays.

An open LLM call is visible to what runs inside it, so that an SDK guard beneath a framework
finds the call that the framework opened instead of holding the same money twice. A tool's call
hides it: what a tool asks of a model is money of its own.

All of it is one frozen `Context` in one context variable; who pays for the whole process is one
`_Process`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from budget_core.runtime.weak import WeakBag

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall

P = ParamSpec("P")
T = TypeVar("T")


class Context(NamedTuple):
    """What this thread or task is inside of.

    Attributes:
        calls: that were opened here, outermost first.
        sessions: that were entered, outermost first: budgets opened here become children.
        claiming: that pay for every SDK call made here.
        finalizing: that are spending their finalization reserve.
        wanted: tokens from which on an answer is of use to whoever asks here, and asks once more
            if it is cut; None if nobody does.
        apart: calls around this code that it is no part of (see `apart`).
    """

    calls: tuple[PaidCall, ...] = ()
    sessions: tuple[Any, ...] = ()
    claiming: tuple[Any, ...] = ()
    finalizing: tuple[Any, ...] = ()
    wanted: int | None = None
    apart: tuple[PaidCall, ...] = ()


class _Process:
    """Who pays wherever no context says so.

    Attributes:
        offered: pay for SDK calls that no session claims, oldest first; replaced whole.
        everywhere: those of the whole process among them.
        let_go: claim no more, also in contexts that inherited them, once they are closed.
    """

    def __init__(self) -> None:
        self.offered: tuple[Any, ...] = ()
        self.everywhere: tuple[Any, ...] = ()
        self.let_go: WeakBag[Any] = WeakBag()
        self.lock = RLock()  # reentrant: a finalizer may run in here


_NOTHING: Final = Context()
_here: ContextVar[Context] = ContextVar("budget_context", default=_NOTHING)
_process: Final = _Process()
here: Final = _here.get
"""Returns the `Context` of this thread or task."""


def publish(call: PaidCall) -> None:
    calls, *rest = _here.get()
    calls = (*[known for known in calls if not known.over], call) if calls else (call,)
    _here.set(tuple.__new__(Context, (calls, *rest)))


def retire(call: PaidCall) -> None:
    """Take a call out of this context; elsewhere it is passed over because it is over."""
    calls, *rest = _here.get()
    if call in calls:
        left: tuple[PaidCall, ...] = ()
        if len(calls) > 1:
            left = tuple([known for known in calls if known is not call and not known.over])
        _here.set(tuple.__new__(Context, (left, *rest)))


def open_calls() -> tuple[PaidCall, ...]:
    """Return the calls inside which this code runs, outermost first.

    Not those of an SDK's guard: what a program does while it reads a stream is no part of that.
    """
    calls = _here.get().calls
    return tuple(c for c in calls if not c.over and not c.guarded) if calls else calls


def held_calls() -> tuple[PaidCall, ...]:
    """Return all calls that were opened in this context and are still held."""
    inside = _here.get()
    return tuple(call for call in (*inside.apart, *inside.calls) if not call.over)


def enclosing_calls() -> tuple[PaidCall, ...]:
    """Return the LLM calls to which a request made here belongs; none inside a tool's call."""
    if not (calls := open_calls()):
        return calls
    start = max((at for at, call in enumerate(calls, 1) if call.kind == "tool"), default=0)
    return calls[start:]


def apart(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function in which no call around it is visible, so that it pays for its own."""

    @contextmanager
    def hidden() -> Iterator[None]:
        before = _here.get()
        tools = tuple(call for call in before.calls if call.kind == "tool")
        others = tuple(call for call in before.calls if call.kind != "tool")
        _set(calls=tools, apart=(*before.apart, *others))
        try:
            yield
        finally:
            _set(calls=before.calls, apart=before.apart)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with hidden():
            return function(*args, **kwargs)

    @wraps(function)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        with hidden():
            return await cast("Any", function(*args, **kwargs))

    return cast("Callable[P, T]", run_async) if iscoroutinefunction(function) else run


def tool_sessions() -> tuple[Any, ...]:
    """Return the sessions in whose tools this code runs: they pay for what a tool asks, too."""
    return tuple(call.payer for call in open_calls() if call.kind == "tool")


def current_session() -> Any:
    """Return the session that was entered last in this context, else the whole process's.

    Closed ones are passed over; None if there is no other.
    """
    known = _process.everywhere + _here.get().sessions
    return next((session for session in reversed(known) if not session.closed), None)


def enter(session: Any) -> None:
    _set(sessions=(*_open(_here.get().sessions), session))


def leave(session: Any) -> None:
    """Undo `enter`; in a context that never saw it, do nothing."""
    _set(sessions=_without(_here.get().sessions, session))


def guarded() -> tuple[Any, ...]:
    """Return the sessions that claim every SDK call in this context.

    One that was closed elsewhere still claims them, and refuses: what outlives a budget's block (a
    task that was not awaited) must not spend without it. Not so one that was let go everywhere.
    """
    sessions, let_go = _here.get().claiming, _process.let_go
    return tuple(s for s in sessions if not (s.closed and s in let_go)) if sessions else sessions


def guard(session: Any) -> None:
    """Let `session` claim every SDK call in this context and in those it starts."""
    _set(claiming=(*guarded(), session))


def unguard(session: Any, *, everywhere: bool = False) -> None:
    """Undo `guard`.

    Args:
        session: that claims no more.
        everywhere: nor in contexts that inherited it, once it is closed.
    """
    _set(claiming=_without(_here.get().claiming, session))
    if everywhere:
        _process.let_go.add(session)


@contextmanager
def claiming(session: Any) -> Iterator[None]:
    """Let `session` pay for every SDK call made inside, from any client."""
    guard(session)
    try:
        yield
    finally:
        unguard(session)


def offer(session: Any, *, everywhere: bool = False) -> None:
    """Let `session` pay, in every thread of this process, for SDK calls that no session claims.

    Args:
        session: who pays.
        everywhere: it is the budget of the whole process: what is opened in any context becomes
            its child, and it pays where others that are offered know nothing of each other.
    """
    with _process.lock:
        _process.offered = (*_process.offered, session)
        if everywhere:
            _process.everywhere = (*_process.everywhere, session)


def withdraw(session: Any) -> None:
    with _process.lock:
        _process.offered = _without(_process.offered, session)
        _process.everywhere = _without(_process.everywhere, session)


def offered(*, everywhere: bool = False) -> tuple[Any, ...]:
    """Return the sessions that pay for what no session claims, oldest first, closed ones left out.

    Args:
        everywhere: only those of the whole process.
    """
    return _open(_process.everywhere if everywhere else _process.offered)


class Bindings(NamedTuple):
    """What a context knows of sessions, to be carried into a thread that inherits nothing."""

    sessions: tuple[Any, ...]
    claiming: tuple[Any, ...]


def bindings() -> Bindings:
    here = _here.get()
    return Bindings(here.sessions, here.claiming)


@contextmanager
def bound(to: Bindings) -> Iterator[None]:
    before = bindings()
    _set(sessions=to.sessions, claiming=to.claiming)
    try:
        yield
    finally:
        _set(sessions=before.sessions, claiming=before.claiming)


def finalizing() -> tuple[Any, ...]:
    return _here.get().finalizing


@contextmanager
def finalize(session: Any) -> Iterator[None]:
    before = _here.get().finalizing
    _set(finalizing=(*before, session))
    try:
        yield
    finally:
        _set(finalizing=before)


@contextmanager
def wanting(tokens: int) -> Iterator[None]:
    """Say that an answer is asked for inside again if it is cut (see `Context.wanted`)."""
    before = _here.get().wanted
    _here.set(_here.get()._replace(wanted=tokens))
    try:
        yield
    finally:
        _here.set(_here.get()._replace(wanted=before))


def clear() -> None:
    _here.set(_NOTHING)


def _set(**fields: Any) -> None:
    _here.set(_here.get()._replace(**fields))


def _open(sessions: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(s for s in sessions if not s.closed) if sessions else sessions


def _without(sessions: tuple[Any, ...], gone: Any) -> tuple[Any, ...]:
    for at in range(len(sessions) - 1, -1, -1):
        if sessions[at] is gone:
            return sessions[:at] + sessions[at + 1 :]
    return sessions
