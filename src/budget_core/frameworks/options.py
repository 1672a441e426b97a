"""What the front object of an adapter is given: options of its own, of a budget, of an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from budget_core.runtime.settings import check_settings, constructors_of, settings_of
from budget_core.session.budget import AgentBudget

F = TypeVar("F")


def options_of(front: type) -> frozenset[str]:
    """Return what a class derived from `Integration` takes by keyword, `AgentBudget`'s included."""
    return settings_of(*_takers(front)) - {"max_spend"}


def check_options(front: type, options: Mapping[str, Any]) -> None:
    """Refuse options that a class derived from `Integration` does not take.

    Raises:
        UnknownSetting: a `TypeError` that names the nearest one that it takes.
    """
    if options:
        check_settings(options, *_takers(front), of=front.__name__)


def split_options(
    front: type, options: Mapping[str, Any], agent: type
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that describe a budget, and the rest, which are an agent's.

    Args:
        front: a class derived from `Integration`.
        options: as an agent with a budget is given them.
        agent: its class.

    Raises:
        UnknownSetting: one is neither's.
    """
    check_settings(options, *_takers(front), *constructors_of(agent), of=agent.__name__)
    known = options_of(front) - {"budget", "name"}
    budget = {key: value for key, value in options.items() if key in known}
    return budget, {key: value for key, value in options.items() if key not in known}


def given_or_new(
    front: type[F], given: object, name: str, budget: Any, options: Mapping[str, Any]
) -> F:
    """Return the front object that was given, or a new one.

    Args:
        front: its class.
        given: the one to share; None for a new one.
        name: of the parameter for the one to share.
        budget: of a new one.
        options: likewise.

    Raises:
        TypeError: one was given that is none, or along with what describes another.
    """
    if given is None:
        return cast("Any", front)(budget, **options)  # type: ignore[no-any-return]
    if budget is not None or options:
        raise TypeError(f"{name}= brings its own budget: pass nothing else that describes one")
    if not isinstance(given, front):
        raise TypeError(f"{name}= takes an object of {front.__name__}; got {given!r}")
    return given


def _takers(front: type) -> tuple[type, ...]:
    kinds = (kind for kind in front.__mro__ if hasattr(kind, "session_of"))
    return (*(kind for kind in kinds if "__init__" in vars(kind)), AgentBudget)
