"""Which task is being worked on in this context, as CrewAI's hooks tell it."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

from budget_core.frameworks import Stack
from budget_core.money.amounts import ZERO
from budget_core.runtime.background import told
from budget_crewai.payer import Payer


class Step(NamedTuple):
    """A crew that runs, or a task of one that is worked on, inside another."""

    outer: Step | None
    crew: Any = None
    task: Any = None
    agent: Any = None


class Block(NamedTuple):
    """Where a budget's block began: what was worked on, which of CrewAI's events had no end yet."""

    payer: Payer
    events: tuple[Any, ...]
    step: Step | None


_step: ContextVar[Step | None] = ContextVar("budget_crewai_step", default=None)
_NOTHING = Step(None)
_blocks: Stack[Block] = Stack("budget_crewai_blocks")


def current() -> Step:
    return _step.get() or _NOTHING


def crew_starts(context: Any) -> None:
    payers = Payer.all_active() if context.crew is not None else ()
    if payers:
        _step.set(Step(_step.get(), crew=context.crew))
    for payer in payers:
        payer.units.begin(context.crew)


def crew_ends(context: Any) -> None:
    if context.crew is None:
        return
    _leave("crew", context.crew)
    for payer in Payer.all_active():
        payer.units.end(context.crew)


def task_starts(context: Any) -> None:
    """Record which task is worked on."""
    payers = Payer.all_active() if context.kind == "task" else ()
    if payers:
        _step.set(Step(_step.get(), task=context.task, agent=context.agent))
    for payer in payers:
        payer.units.start(context.task)


def task_ends(context: Any) -> None:
    if context.kind != "task":
        return
    _leave("task", context.task)
    for payer in Payer.all_active():
        payer.units.finish(context.task, context.output)
        if (limit := payer.limit_of(context.agent)) is not None:
            told(partial(limit.keep_back, ZERO), blocks=limit.blocks)


def begin_block(payer: Payer) -> None:
    """Record where a budget's block begins."""
    from crewai.events.event_context import _event_id_stack  # noqa: PLC0415  loaded by now

    _blocks.attach(Block(payer, _event_id_stack.get(), _step.get()))


def end_block(payer: Payer) -> None:
    """Forget the crews that were stopped in the block: CrewAI gives up at 100 open events."""
    from crewai.events.event_context import (  # noqa: PLC0415  loaded by now
        _event_id_stack,
        restore_event_scope,
    )

    for block in reversed(_blocks.get()):
        if block.payer is payer:
            _blocks.detach(block)
            if _event_id_stack.get()[: len(block.events)] == block.events:
                restore_event_scope(block.events)
                _step.set(block.step)
            return


def _leave(what: str, thing: Any) -> None:
    step = _step.get()
    while step is not None and getattr(step, what) is not thing:
        step = step.outer
    if step is not None:
        _step.set(step.outer)
