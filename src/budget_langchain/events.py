"""How handlers fail: on purpose, or not at all."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from budget_core import AgentBudgetError
from budget_core.runtime.signals import pass_on

_log: Final = logging.getLogger("budget_langchain")
F = TypeVar("F", bound=Callable[..., None])


def raising(event: F) -> F:
    """Let a handler raise what it raises on purpose; a bug of ours must not stop an agent."""

    @functools.wraps(event)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            event(*args, **kwargs)
        except AgentBudgetError:
            raise
        except Exception as error:  # noqa: BLE001  logged with its trace
            pass_on(error)
            _log.exception("%s failed: this event is not accounted for", event.__name__)

    return handle  # type: ignore[return-value]


def silent(event: F) -> F:
    """Never raise: what is paid for must reach the caller."""

    @functools.wraps(event)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            event(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  logged with its trace
            pass_on(error)
            _log.exception("%s failed: this event is not accounted for", event.__name__)

    return handle  # type: ignore[return-value]
