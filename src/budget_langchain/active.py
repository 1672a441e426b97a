"""The handler that is active in this context, which LangChain then adds to every run."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from langchain_core.tracers.context import register_configure_hook

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

_active: ContextVar[BaseCallbackHandler | None] = ContextVar("budget_handler", default=None)
_stack: ContextVar[tuple[BaseCallbackHandler, ...]] = ContextVar("budget_handlers", default=())

register_configure_hook(_active, inheritable=True)


def activate(handler: BaseCallbackHandler) -> None:
    """Add `handler` to every run that starts in this context."""
    _set((*_stack.get(), handler))


def deactivate(handler: BaseCallbackHandler) -> None:
    """Undo `activate`; in a context that never saw it, do nothing."""
    stack = _stack.get()
    for at in range(len(stack) - 1, -1, -1):
        if stack[at] is handler:
            _set(stack[:at] + stack[at + 1 :])
            return


def _set(stack: tuple[BaseCallbackHandler, ...]) -> None:
    _stack.set(stack)
    _active.set(stack[-1] if stack else None)
