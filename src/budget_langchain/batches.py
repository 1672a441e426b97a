"""The runs of one `generate`, of which LangChain does not tell everything.

Each function gets the open runs of a handler, and takes out of them what it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.background import in_event_loop
from budget_langchain import outcomes

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.outputs import LLMResult

    from budget_langchain.runs import Run


def release(runs: dict[UUID, Run], batch: object) -> None:
    """Release the calls of a batch of which one was refused: none has been sent."""
    for run in _taken(runs, batch):
        run.end(unbilled=True)


def pay(runs: dict[UUID, Run], run: Run, response: LLMResult) -> None:
    """Note that one completion request answered several prompts, and was charged at once."""
    if run.call.claimed or outcomes.says_usage(response):
        for mate in tuple(runs.values()):
            mate.paid = mate.paid or mate.batch is run.batch


def abandon(runs: dict[UUID, Run], failed: Run) -> None:
    """End the rest of a synchronous batch that failed: no further event tells of it.

    What came before the failure was sent and answered, what comes after it never was.
    """
    if not in_event_loop():
        for run in _taken(runs, failed.batch):
            run.end(unbilled=run.number > failed.number)


def _taken(runs: dict[UUID, Run], batch: object) -> list[Run]:
    mates = [run_id for run_id, run in tuple(runs.items()) if run.batch is batch]
    found = [runs.pop(run_id, None) for run_id in mates]
    return [run for run in found if run is not None]
