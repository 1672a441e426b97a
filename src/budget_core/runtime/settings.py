"""Settings as they were written: an unknown name is an error there and then."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache, wraps
from typing import Any, TypeVar

from budget_core.errors import UnknownSetting

T = TypeVar("T")
_VARIABLE = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def check_settings(given: Iterable[str], *takers: Callable[..., Any], of: str = "") -> None:
    """Refuse settings that none of `takers` has a parameter for.

    For what passes on settings that it does not know itself.

    >>> check_settings({"soft_limt": 0.5}, AgentBudget)
    Traceback (most recent call last):
    budget_core.errors.UnknownSetting: AgentBudget has no setting 'soft_limt'. Did you mean …

    Args:
        given: their names.
        *takers: classes and functions; those that they are passed on to, too.
        of: how the error calls what they were written for, by default the first taker's name.

    Raises:
        UnknownSetting: a `TypeError`.
    """
    known = settings_of(*takers)
    for name in given:
        if name not in known:
            public = sorted(each for each in known if not each.startswith("_"))
            raise UnknownSetting(of or takers[0].__qualname__, name, public)


def checked_settings(kind: type[T]) -> type[T]:
    checked: Any = kind
    init = checked.__init__

    @wraps(init)
    def checking(self: T, *args: Any, **settings: Any) -> None:
        check_settings(settings, kind)
        init(self, *args, **settings)

    checked.__init__ = checking
    return kind


def constructors_of(kind: type) -> Iterator[Callable[..., Any]]:
    """Return the constructors of a class and of those above it, to which settings are passed on."""
    return (vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each))


@cache
def settings_of(*takers: Callable[..., Any]) -> frozenset[str]:
    parameters = [each for taker in takers for each in inspect.signature(taker).parameters.values()]
    return frozenset(each.name for each in parameters if each.kind not in _VARIABLE) - {"self"}
