"""How LangChain is told which handlers are active: it asks at the start of every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.tracers.context import register_configure_hook

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

Find: TypeAlias = "Callable[[], Sequence[BaseCallbackHandler]]"


class _Slot:
    """What LangChain takes for a context variable that holds a handler.

    A real one holds one handler, and is not seen in threads, where a session of `init` pays all
    the same.
    """

    def __init__(self, find: Find, at: int = 0) -> None:
        self._find = find
        self._at = at
        self._has_next = False

    def get(self) -> BaseCallbackHandler | None:
        at, handlers = self._at, self._find()
        if len(handlers) > at + 1 and not self._has_next:
            self._has_next = True
            _register(_Slot(self._find, at + 1))  # asked in the same round
        return handlers[at] if at < len(handlers) else None


def add_to_runs(find: Find) -> None:
    """Add to every run the handlers that are active where it starts.

    Args:
        find: returns them, the innermost first.
    """
    _register(_Slot(find))


def _register(slot: Any) -> None:
    register_configure_hook(slot, inheritable=True)
