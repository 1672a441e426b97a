"""Decorating a tool so that every call of it is paid for."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

from budget_core.calls.prompt import snapshot
from budget_core.calls.request import CallRequest
from budget_core.runtime.finalizers import Ender

if TYPE_CHECKING:
    from budget_core.calls.call import Call


class CallOpener(Protocol):
    """Opens calls, as a session does."""

    def open_call(self, request: CallRequest) -> Call: ...
    async def open_call_async(self, request: CallRequest) -> Call: ...


def tracked(  # noqa: C901  four kinds of functions, the same two lines in each
    session: CallOpener, cost: int, tool_name: str | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for functions, coroutines, and generators of both kinds.

    Args:
        session: whose money it is.
        cost: nanos a call.
        tool_name: as the report names it; the function's name if None.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = tool_name or str(getattr(function, "__name__", "tool"))

        def request(*args: Any, **kwargs: Any) -> CallRequest:
            fingerprint = (name, snapshot(args), snapshot(kwargs))
            return CallRequest(kind="tool", name=name, cost=cost, fingerprint=fingerprint)

        if inspect.isasyncgenfunction(function):

            async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                with await session.open_call_async(request(*args, **kwargs)):
                    async with contextlib.aclosing(function(*args, **kwargs)) as items:
                        async for item in items:
                            yield item

            return functools.wraps(function)(agenerate)
        if inspect.iscoroutinefunction(function):

            async def acall(*args: Any, **kwargs: Any) -> Any:
                with await session.open_call_async(request(*args, **kwargs)):
                    return await function(*args, **kwargs)

            return functools.wraps(function)(acall)
        if inspect.isgeneratorfunction(function):

            def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                call = session.open_call(request(*args, **kwargs))
                return (yield from _paid(call, functools.partial(function, *args, **kwargs)))

            return functools.wraps(function)(generate)

        def call(*args: Any, **kwargs: Any) -> Any:
            with session.open_call(request(*args, **kwargs)):
                return function(*args, **kwargs)

        return functools.wraps(function)(call)

    return decorate


def _paid(call: Call, items: Callable[[], Generator[Any, Any, Any]]) -> Generator[Any, Any, Any]:
    _ender = Ender(call.settle)
    try:
        result = yield from items()
    except GeneratorExit:
        raise
    except BaseException:
        call.settle()
        raise
    call.settle()
    return result
