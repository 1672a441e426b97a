"""Telling: callbacks and plugins hear of events, and can neither break nor slow the money path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any

from budget_core.events.types import Event, Listener
from budget_core.runtime.plugins import asking, manager
from budget_core.runtime.plugins.asking import outermost
from budget_core.runtime.plugins.markers import hookimpl
from budget_core.runtime.signals import pass_on

_log = logging.getLogger("budget_core")


def tell(event: Event, listeners: Iterable[Listener]) -> None:
    """Hand an event to a session's own listeners, and to every plugin that listens."""
    for listener in listeners:
        ask(listener, lambda: event)
    if asking.listening("budget_event"):
        asking.every("budget_event", event)


def ask(callback: Callable[[Any], Any] | None, about: Callable[[], Any]) -> Any:
    """Return what a user's callback answers; one that raises is logged and answers None.

    Args:
        callback: who is asked; None for no one.
        about: makes what it is asked with, only then.
    """
    if callback is None:
        return None
    try:
        return outermost(callback, about())
    except Exception as error:  # noqa: BLE001  whatever a user's callback may raise
        pass_on(error)
        _log.exception("The callback %r failed; the budget is enforced without it", callback)
        return None


def listen(listener: Listener) -> Callable[[], None]:
    """Let a listener hear of the events of every session in this process.

    >>> end = listen(lambda event: print(event.kind, event.data))
    >>> end()

    Args:
        listener: called with each event, in the thread in which it happens and under no lock; what
            it raises is logged.

    Returns:
        What ends it.

    Raises:
        TypeError: it is a coroutine function, which would never be awaited.
    """
    plugin = _Listening(callable_listener(listener))
    manager.register(plugin)

    def end() -> None:
        manager.unregister(plugin)

    return end


def callable_listener(listener: Listener) -> Listener:
    """Return a listener, or raise TypeError for what cannot be one."""
    awaited = iscoroutinefunction(listener) or iscoroutinefunction(
        getattr(listener, "__call__", None)  # noqa: B004  an object's, which may be async
    )
    if not callable(listener) or awaited:
        raise TypeError(
            f"A listener is called with an event, and not awaited; got {listener!r}. To go on in "
            "an event loop, hand over to it: loop.call_soon_threadsafe(queue.put_nowait, event)."
        )
    return listener


class _Listening:
    """A plugin of one listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @hookimpl
    def budget_event(self, event: Event) -> None:
        self._listener(event)
