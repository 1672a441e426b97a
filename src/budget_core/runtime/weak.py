"""Objects that are known for as long as they are used elsewhere.

`weakref.WeakSet` and its like remove what is gone by callbacks in Python, which then run in
garbage collections (see `finalizers`). These pass over it, and drop it when they have doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, Generic, TypeVar
from weakref import ref

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_FEW: Final = 16


class WeakValues(Generic[K, V]):
    """A dict whose values may go."""

    __slots__ = ("_most", "_refs")

    def __init__(self) -> None:
        self._refs: dict[K, ref[Any]] = {}
        self._most = _FEW

    def __setitem__(self, key: K, value: V) -> None:
        if len(self._refs) >= self._most:
            self._prune()
        self._refs[key] = ref(value)

    def get(self, key: K) -> V | None:
        """Return a value, or None if there is none any more."""
        found = self._refs.get(key)
        return None if found is None else found()

    def setdefault(self, key: K, make: Callable[[], V]) -> V:
        """Return a value, made if there is none; not safe against other threads."""
        found = self.get(key)
        if found is None:
            found = self[key] = make()
        return found

    def pop(self, key: K) -> None:
        """Drop a value, if there is one."""
        self._refs.pop(key, None)

    def values(self) -> list[V]:
        """Return those that are still there."""
        return [value for each in tuple(self._refs.values()) if (value := each()) is not None]

    def _prune(self) -> None:
        for key, known in tuple(self._refs.items()):
            if known() is None and (gone := self._refs.pop(key, known)) is not known:
                self._refs.setdefault(key, gone)  # another thread has just put it there
        self._most = 2 * len(self._refs) + _FEW


class WeakBag(Generic[V]):
    """A set whose members may go; told apart by what they are, not by what they equal."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: WeakValues[int, V] = WeakValues()

    def add(self, member: V) -> None:
        """Put a member in."""
        self._members[id(member)] = member

    def discard(self, member: V) -> None:
        """Take a member out, if it is in."""
        if member in self:
            self._members.pop(id(member))

    def __contains__(self, member: object) -> bool:
        return self._members.get(id(member)) is member

    def __iter__(self) -> Iterator[V]:
        return iter(self._members.values())

    def __bool__(self) -> bool:
        return bool(self._members.values())
