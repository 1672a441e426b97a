"""Which task is being worked on in this context, as CrewAI's hooks tell it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

from budget_core.money.amounts import ZERO
from budget_crewai import active


class Step(NamedTuple):
    """A crew that runs, or a task of one that is worked on, inside another."""

    outer: Step | None
    crew: Any = None
    task: Any = None
    agent: Any = None


_step: ContextVar[Step | None] = ContextVar("budget_crewai_step", default=None)
_NOTHING = Step(None)
_blocks: ContextVar[tuple[tuple[Any, ...], ...]] = ContextVar("budget_crewai_blocks", default=())


def current() -> Step:
    """Return the task that is worked on here; one without a task if there is none."""
    return _step.get() or _NOTHING


def crew_starts(context: Any) -> None:
    """Get to know the tasks of a crew."""
    payers = active.payers() if context.crew is not None else ()
    if payers:
        _step.set(Step(_step.get(), crew=context.crew))
    for middleware in payers:
        middleware.units.begin(context.crew)


def crew_ends(context: Any) -> None:
    """Free what was kept back for tasks of a crew."""
    if context.crew is None:
        return
    _leave("crew", context.crew)
    for middleware in active.payers():
        middleware.units.end(context.crew)


def task_starts(context: Any) -> None:
    """Note which task is worked on."""
    payers = active.payers() if context.kind == "task" else ()
    if payers:
        _step.set(Step(_step.get(), task=context.task, agent=context.agent))
    for middleware in payers:
        middleware.units.start(context.task)


def task_ends(context: Any) -> None:
    """Keep a task's output, and free what was kept back for it."""
    if context.kind != "task":
        return
    _leave("task", context.task)
    for middleware in active.payers():
        middleware.units.finish(context.task, context.output)
        if (limit := middleware.limit_of(context.agent)) is not None:
            limit.ledger.keep_back(limit.id, ZERO)


def begin_block() -> None:
    """Note which events of CrewAI have begun and not ended, where a budget's block begins."""
    from crewai.events.event_context import _event_id_stack  # noqa: PLC0415  loaded by now

    _blocks.set((*_blocks.get(), _event_id_stack.get()))


def end_block() -> None:
    """Forget events of crews that were stopped in the block: CrewAI gives up at 100 of them."""
    from crewai.events.event_context import (  # noqa: PLC0415  loaded by now
        _event_id_stack,
        restore_event_scope,
    )

    *outer, before = _blocks.get() or ((),)
    _blocks.set(tuple(outer))
    if _event_id_stack.get()[: len(before)] == before:
        restore_event_scope(before)


def _leave(what: str, thing: Any) -> None:
    """Forget a step, and those inside it that were broken off."""
    step = _step.get()
    while step is not None and getattr(step, what) is not thing:
        step = step.outer
    if step is not None:
        _step.set(step.outer)
