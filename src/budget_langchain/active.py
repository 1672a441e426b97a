"""How LangChain is told which handlers are active: it asks at the start of every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from langchain_core.tracers.context import register_configure_hook

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

_slots: Final[list[_Slot]] = []


class _Slot:
    """What LangChain takes for a context variable that holds a handler.

    A real one holds one handler, and is not seen in threads, where a session of `init` pays all
    the same.
    """

    def __init__(self, active: Callable[[], Sequence[BaseCallbackHandler]]) -> None:
        self._active = active
        self._at = len(_slots)

    def get(self) -> BaseCallbackHandler | None:
        """Return the handler that is active here: of the first slot the innermost, and so on."""
        handlers = self._active()
        if len(handlers) > len(_slots):
            add_to_runs(self._active)  # LangChain comes to the new slot in the same round
        return handlers[self._at] if self._at < len(handlers) else None


def add_to_runs(active: Callable[[], Sequence[BaseCallbackHandler]]) -> None:
    """Add to every run the handlers that are active where it starts.

    Args:
        active: returns them, the innermost first.
    """
    slot: Any = _Slot(active)
    _slots.append(slot)
    register_configure_hook(slot, inheritable=True)
