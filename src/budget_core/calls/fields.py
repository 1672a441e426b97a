"""Looking into what others have made: objects, mappings, and numbers that may be none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Get: TypeAlias = Callable[[str], Any]


def getter(thing: Any) -> Get:
    """Return how to look into `thing`: a missing key is None, in a mapping and in an object."""
    if isinstance(thing, dict):
        return thing.get
    if thing is None:
        return _NOTHING.get
    extra: Any = getattr(thing, "__pydantic_extra__", _FOREIGN)
    if extra is not _FOREIGN:
        # a model's own dict: ten times quicker than the AttributeError of an absent field
        own: dict[str, Any] = thing.__dict__
        return {**extra, **own}.get if extra else own.get
    if isinstance(thing, Mapping):
        return thing.get
    return lambda key: getattr(thing, key, None)


def counts(*values: Any) -> list[int]:
    """Return what is said of tokens, 0 where nothing is.

    Raises:
        ValueError: a number is said that is no count: the whole is not known then.
    """
    found = []
    for value in values:
        sound = type(value) is int and value >= 0
        if not sound and isinstance(value, int | float):
            raise ValueError(value)
        found.append(value if sound else 0)
    return found


def items(value: Any) -> list[Any] | tuple[Any, ...]:
    """Return a list as it is, and anything else as none."""
    return value if isinstance(value, list | tuple) else ()


def text(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def camel_case(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(map(str.capitalize, rest))


_FOREIGN: Final = object()
_NOTHING: Final[dict[str, Any]] = {}
