"""Asking plugins, each in isolation. Without implementations a hook costs nothing: `listening`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from threading import local
from typing import TYPE_CHECKING, Any, Final, TypeVar

from budget_core.runtime.plugins.manager import loaded, on_change
from budget_core.runtime.signals import pass_on

if TYPE_CHECKING:
    import pluggy

T = TypeVar("T")
_log = logging.getLogger("budget_core")
_OUTERMOST: Final = frozenset({"budget_event", "budget_reserve"})
"""Not asked about what an implementation does itself."""
heard: dict[Any, Any] = {}
"""What was found, and made of it, since a plugin came or went: () for a hook without listeners."""


def until_change(make: Callable[[], T]) -> Callable[[], T]:
    """Return a function that keeps what `make` returns until a plugin comes or goes."""

    @wraps(make)
    def kept() -> T:
        known = heard  # taken first: what is made while plugins change is not kept
        if make not in known:
            known[make] = make()
        made: T = known[make]
        return made

    return kept


def listening(hook: str) -> bool:
    """Return whether any plugin implements `hook`."""
    found = heard.get(hook)
    return bool(_look_up(hook) if found is None else found)


def first(
    hook: str,
    request: object,
    *,
    sound: Callable[[Any], bool] = lambda _: True,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> Any:
    """Return the first answer that is not None, or None; who registered last is asked first.

    Args:
        hook: its name.
        request: what it is asked with.
        sound: tells whether an answer can be used; one that cannot is logged and passed over.
        passing: errors that are raised; any other is logged, and the next one is asked.
    """
    return next(_answers(hook, request, sound, passing), None)


def every(
    hook: str,
    request: object,
    *,
    sound: Callable[[Any], bool] = lambda _: True,
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> list[Any]:
    """Ask every implementation, and return the answers that are not None (see `first`)."""
    return list(_answers(hook, request, sound, passing))


def _answers(
    hook: str,
    request: object,
    sound: Callable[[Any], bool],
    passing: type[Exception] | tuple[type[Exception], ...],
) -> Iterator[Any]:
    for impl in _implementations(hook):
        try:
            args = (request,) * len(impl.argnames)
            nests = hook not in _OUTERMOST
            answer = impl.function(*args) if nests else outermost(impl.function, *args)
        except passing:
            raise
        except Exception as error:  # noqa: BLE001  whatever a plugin may raise
            pass_on(error)
            _log.exception("Plugin %r failed in %s", impl.plugin_name, hook)
        else:
            if answer is None:
                continue
            if sound(answer):
                yield answer
            else:
                text = "Plugin %r answered %s by %r, which is none; it is passed over"
                _log.error(text, impl.plugin_name, hook, answer)


def _implementations(hook: str) -> tuple[pluggy.HookImpl, ...]:
    found = heard.get(hook)
    return _look_up(hook) if found is None else found


def _look_up(hook: str) -> tuple[pluggy.HookImpl, ...]:
    found = loaded()
    known = heard  # taken first, as in `until_change`
    caller: pluggy.HookCaller = getattr(found.manager.hook, hook)
    listed = reversed(caller.get_hookimpls())
    impls = tuple(impl for impl in listed if not (impl.wrapper or impl.hookwrapper))
    if not found.waiting:
        known[hook] = impls
    return impls


class _Thread(local):
    def __init__(self) -> None:
        self.running: list[object] = []


_here = _Thread()


def outermost(callback: Callable[..., Any], *args: object) -> Any:
    """Call `callback`, but for what it does itself: a listener that spends would spend for ever."""
    running = _here.running
    if running and any(one is callback for one in running):
        return None
    running.append(callback)
    try:
        return callback(*args)
    finally:
        running.pop()


def _forget() -> None:
    global heard  # noqa: PLW0603  replaced whole: readers take no lock
    heard = {}


on_change(_forget)
