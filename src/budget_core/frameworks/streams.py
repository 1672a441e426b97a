"""Reading a stream so that what is set for it is not seen by who reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from budget_core.calls import context

if TYPE_CHECKING:
    from budget_core.calls.call import Call

T = TypeVar("T")


async def stepped(
    stream: AsyncGenerator[T, None], within: Callable[[], AbstractContextManager[object]]
) -> AsyncGenerator[T, None]:
    """Yield what `stream` does, each step of it made within a context that ends before the yield.

    A generator runs in the context of its reader: what it left set there between two steps, the
    reader's own calls would be paid by.
    """
    try:
        while True:
            with within():
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        await stream.aclose()


@contextmanager
def visible(call: Call) -> Iterator[None]:
    """Let an SDK's guard find an open call inside, to adopt it."""
    context.publish(call)
    try:
        yield
    finally:
        context.retire(call)
