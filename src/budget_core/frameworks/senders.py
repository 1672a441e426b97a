"""Which provider SDK alone can send what a framework's model is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any, Final, NamedTuple

from budget_core.sdk.installing import guarded

_HELD: Final = ("client", "_client", "async_client", "_async_client")
"""Attributes in which models keep what they send with, or their providers do."""
_HOLDERS: Final = ("provider", "_provider")
_MADE: Final = (property, cached_property)
_OTHERS: Final = frozenset(
    {
        "aiohttp", "boto3", "botocore", "grpc", "http", "httpcore", "litellm", "requests",
        "urllib3", "websockets",
    }
)  # fmt: skip
"""What sends past the SDKs. By httpx they send themselves: a model may make its client with it."""


class _Means(NamedTuple):
    """What a module knows: which SDKs, and that nothing else sends by itself."""

    sdks: frozenset[str]
    alone: bool


def sender_of(model: Any, base: type, *ways: str) -> str | None:
    """Return the SDK that alone sends what a model is asked: what its guard never saw was not sent.

    That is certain where every module in which the model has a way to ask is of one package and
    knows one SDK and no other means to send, and the model has a place for a client, which is that
    SDK's if it is there. A model that asks other models has none.

    Args:
        model: that is asked.
        base: the framework's class of all models, in which nothing is sent.
        ways: the methods by which the framework asks a model.

    Returns:
        "openai", "anthropic", … as guards are registered; None if there is any doubt.
    """
    kind: Any = type(model)
    sdks, clients, homes = guarded(), _clients(model), _homes(kind, base, ways)
    asked = [_means(module, sdks) for module in homes]
    if not clients or len({module.partition(".")[0] for module in homes}) != 1:
        return None
    known = frozenset[str]().union(*(means.sdks for means in asked))
    if len(known) != 1 or not all(means.sdks and means.alone for means in asked):
        return None
    (sdk,) = known
    held = (map(_home, type(client).__mro__) for client in clients if client is not None)
    return sdk if all(_is_of(sdk, kinds) for kinds in held) else None


@lru_cache(256)
def _homes(kind: type, base: type, ways: tuple[str, ...]) -> frozenset[str]:
    """Return the modules in which classes between two have one of the methods."""
    between = (one for one in kind.__mro__ if issubclass(one, base) and one is not base)
    return frozenset(one.__module__ for one in between if not vars(one).keys().isdisjoint(ways))


@lru_cache(256)
def _means(module: str, sdks: tuple[str, ...]) -> _Means:
    known = {_home(value) for value in tuple(vars(sys.modules.get(module, sys)).values())}
    alone = _OTHERS.isdisjoint(name.partition(".")[0] for name in known)
    return _Means(frozenset(sdk for sdk in sdks if _is_of(sdk, known)), alone)


def _home(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


def _is_of(sdk: str, modules: Iterable[str]) -> bool:
    return any(name == sdk or name.startswith(f"{sdk}.") for name in modules)


def _clients(model: Any) -> list[Any]:
    """Return what a model, or its provider, has for a client; None for each that is to be made."""
    mine = _attributes(model)
    holders = (mine, *(_attributes(mine.get(name)) for name in _HOLDERS))
    to_be_made = (isinstance(getattr(type(model), name, None), _MADE) for name in _HELD)
    held = [holder[name] for holder in holders for name in _HELD if name in holder]
    return [*held, *(None for made in to_be_made if made)]


def _attributes(thing: Any) -> Mapping[str, Any]:
    return {
        **getattr(thing, "__dict__", {}),
        **(getattr(thing, "__pydantic_private__", None) or {}),
    }
