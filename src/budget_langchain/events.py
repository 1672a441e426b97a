"""How LangChain reaches a handler: it calls it, or awaits it; and how handlers fail."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from types import CodeType
from typing import Any, Final, TypeAlias, TypeVar

from budget_core import AgentBudgetError
from budget_core.errors import AnswerTruncated, CallRefused
from budget_core.runtime.signals import pass_on
from budget_langchain.asking import AWAITING, BLOCKING, Asking
from budget_langchain.errors import bubble

_log: Final = logging.getLogger("budget_langchain")
F = TypeVar("F", bound=Callable[..., None])
Event: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""Gets the handler, how to ask for money, and what LangChain tells."""


def holding(event: Event) -> Any:
    """Make an event of one before which nothing is sent: whatever it raises, nothing is."""

    @functools.wraps(event)
    async def hold(*args: Any, **kwargs: Any) -> None:
        try:
            await event(*args, **kwargs)
        except AgentBudgetError:
            raise
        except Exception as error:
            pass_on(error)
            raise CallRefused(
                f"The call was refused before it was sent, as it could not be held: {error!r} in "
                f"{event.__name__}. That is a fault of budget-suite; please report it."
            ).recast(bubble()) from error

    return _Either(hold)


def metering(event: Event) -> Any:
    """Make an event of one that may stop a stream whose hold is spent, on purpose only."""

    @functools.wraps(event)
    async def meter(*args: Any, **kwargs: Any) -> None:
        try:
            await event(*args, **kwargs)
        except AgentBudgetError:
            raise
        except Exception as error:  # noqa: BLE001  the call is held, and will be settled
            pass_on(error)
            _log.exception("%s failed: this event is not accounted for", event.__name__)

    return _Either(meter)


def silent(event: F) -> F:
    """Never raise: what is paid for must reach the caller, unless the money has cut it."""

    @functools.wraps(event)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            event(*args, **kwargs)
        except AnswerTruncated:
            raise
        except Exception as error:  # noqa: BLE001  logged with its trace
            pass_on(error)
            _log.exception("%s failed: this event is not accounted for", event.__name__)

    return handle  # type: ignore[return-value]


class _Either:
    """A method that is called in synchronous code, and awaited in an event loop.

    LangChain knows handlers that block, and handlers whose errors do not stop what runs in
    synchronous code. A budget's must do neither.
    """

    def __init__(self, event: Event) -> None:
        self._event = event
        self.__doc__ = event.__doc__

    def __get__(self, handler: object, _owner: type | None = None) -> Any:
        return self if handler is None else _Bound(self._event, handler)


class _Bound:
    """An `_Either` of one handler, for one event.

    Code that would await it asks first whether it is a coroutine function, and `inspect` then
    looks at its code; code that calls it does not.
    """

    def __init__(self, event: Event, handler: object) -> None:
        self._event = event
        self._handler = handler
        self._asking: Asking = BLOCKING
        self.__name__ = event.__name__
        self.__defaults__ = None
        self.__kwdefaults__ = None
        self.__annotations__: dict[str, Any] = {}

    @property
    def __code__(self) -> CodeType:
        self._asking = AWAITING
        return _coroutine_function.__code__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running = self._event(self._handler, self._asking, *args, **kwargs)
        return running if self._asking is AWAITING else _at_once(running)


async def _coroutine_function() -> None:
    """Have the code of one."""


def _at_once(running: Coroutine[Any, Any, None]) -> None:
    """Run what awaits nothing: it asks for money by blocking."""
    try:
        running.send(None)
    except StopIteration:
        return
    running.close()
    raise RuntimeError(f"{running!r} waits for an event loop")
