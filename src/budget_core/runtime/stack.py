"""What is active in a context (a thread or a task), the innermost last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Stack(Generic[T]):
    """A stack in a context variable: tasks inherit it, and what they attach is theirs alone.

    An item is detached by what it is, not by a token, which only the context that made it takes:
    blocks end in other tasks and threads than they began in.

    Args:
        name: of the context variable.
    """

    def __init__(self, name: str) -> None:
        self._items: ContextVar[tuple[T, ...]] = ContextVar(name, default=())

    def get(self) -> tuple[T, ...]:
        """Return what is active here, the innermost last."""
        return self._items.get()

    def attach(self, item: T) -> None:
        """Make an item active in this context and in those it starts."""
        self._items.set((*self._items.get(), item))

    def detach(self, item: T) -> None:
        """Undo the last `attach` of an item; in a context that never saw it, do nothing."""
        items = self._items.get()
        if (left := without(items, item)) is not items:
            self._items.set(left)

    @contextmanager
    def attached(self, item: T) -> Iterator[None]:
        """Make an item active inside."""
        self.attach(item)
        try:
            yield
        finally:
            self.detach(item)


def without(items: tuple[T, ...], gone: T) -> tuple[T, ...]:
    """Drop the last occurrence of `gone`; return `items` itself if there is none."""
    for at in range(len(items) - 1, -1, -1):
        if items[at] is gone:
            return items[:at] + items[at + 1 :]
    return items
