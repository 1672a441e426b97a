"""Streams of crews and flows, which run where they are read: maybe after the budget's block."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from functools import wraps
from importlib import import_module
from typing import Any, Final

from budget_crewai.payer import Payer

_GENERATORS: Final = (
    "create_chunk_generator",
    "create_async_chunk_generator",
    "create_frame_generator",
    "create_async_frame_generator",
)
_HOME: Final = "crewai.utilities.streaming"
_USERS: Final = (_HOME, "crewai.crew", "crewai.flow.runtime", "crewai.llms.base_llm")


def follow() -> None:
    """Let what a stream runs be watched by the budgets of the place where it was made."""
    home = import_module(_HOME)
    for name in _GENERATORS:
        original = getattr(home, name, None)
        if original is not None:
            generator = _carrying(original)
            for user in map(import_module, _USERS):
                if getattr(user, name, None) is original:
                    setattr(user, name, generator)


def _carrying(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def generator(state: Any, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return original(state, _carried(run), *args, **kwargs)

    return generator


def _carried(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return `run` under the budgets that were entered here."""
    budgets = [payer for payer in reversed(Payer.all_active()) if payer.entered]
    if not budgets:
        return run

    @wraps(run)
    def carried() -> Any:
        with ExitStack() as stack:
            for budget in budgets:
                stack.enter_context(budget)
            return run()

    @wraps(run)
    async def carried_async() -> Any:
        async with AsyncExitStack() as stack:
            for budget in budgets:
                await stack.enter_async_context(budget)
            return await run()

    return carried_async if inspect.iscoroutinefunction(run) else carried
