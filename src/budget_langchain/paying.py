"""Which call pays for a run: one that is open for it already, or a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.calls import context
from budget_core.frameworks.outcomes import unsent
from budget_langchain import runs
from budget_langchain.runs import Run

if TYPE_CHECKING:
    from uuid import UUID

    from budget_core import BudgetSession, Call, CallRequest
    from budget_langchain.asking import Asking


async def model_run(
    asking: Asking,
    owner: object,
    run_id: UUID,
    request: CallRequest,
    session: BudgetSession,
    *,
    batch: object,
    chat: bool,
) -> Run:
    """Return the run of a model, held in `session`.

    The same request is charged once: another handler may have opened its call, or a middleware
    have offered one.
    """
    enclosing = around(session)
    if (run := runs.known(run_id)) is not None:
        if missing := _missing(run.call, session, enclosing):
            await asking.reprice(run.call, request, missing)
        return run
    if (offer := runs.taken_offer()) is None:
        call = await asking.open(session, request, enclosing)
        return _run(call, owner, batch, chat=chat)
    call, wired = offer.call, offer.call.wired
    with unsent(call):
        offer.context = request.prompt.context if request.prompt else None
        asked = request._replace(output_cap=call.request.output_cap) if wired else request
        await asking.reprice(call, asked, _missing(call, session, enclosing))
        call.wired = wired and (call.cap or 0) >= (request.output_cap or 0)
        call.shortened = wired
        return _run(call, owner, batch, chat=chat)


async def tool_run(
    asking: Asking, owner: object, run_id: UUID, request: CallRequest, session: BudgetSession
) -> Run:
    run = runs.known(run_id)
    if run is None:
        call = await asking.open(session, request, around(session))
        return _run(call, owner, None, chat=False)
    missing = _missing(run.call, session, ())
    if missing or request.cost > run.call.request.cost:
        await asking.reprice(run.call, request, missing)
    return run


def around(session: BudgetSession) -> tuple[BudgetSession, ...]:
    """Return the sessions in whose tools this runs: an agent's limit covers its sub-agents."""
    return tuple(outer for outer in context.tool_sessions() if outer is not session)


def _run(call: Call, owner: object, batch: object, *, chat: bool) -> Run:
    with unsent(call):
        return Run(call, owner, batch, chat=chat)


def _missing(
    call: Call, session: BudgetSession, enclosing: tuple[BudgetSession, ...]
) -> tuple[BudgetSession, ...]:
    return tuple(s for s in dict.fromkeys((session, *enclosing)) if s not in call.sessions)
