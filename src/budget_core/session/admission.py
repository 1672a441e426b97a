"""Asking plugins before money is held: they may shorten an answer, or refuse the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core import hooks
from budget_core.errors import AgentBudgetError

if TYPE_CHECKING:
    from budget_core.calls.call import CallRequest
    from budget_core.session.session import BudgetSession


def tightened(session: BudgetSession, request: CallRequest) -> CallRequest:
    """Return a call as plugins allow it: capped by the least that any of them says.

    Raises:
        AgentBudgetError: a plugin refuses it.
    """
    if not hooks.listening("budget_reserve"):
        return request
    asked = hooks.ReserveRequest(session, request)
    try:
        caps = hooks.every("budget_reserve", asked, sound=_is_cap, passing=AgentBudgetError)
        return _capped(request, caps)
    except AgentBudgetError as error:
        session.vetoed(error, request)
        raise


def _capped(request: CallRequest, caps: list[int]) -> CallRequest:
    if request.output_cap is not None:
        caps.append(request.output_cap)
    if request.kind == "tool" or not caps or (cap := min(caps)) == request.output_cap:
        return request
    if cap < request.least:
        raise AgentBudgetError(
            f"A call to {request.model!r} was refused: a plugin allows an answer of {cap} tokens, "
            f"and as it is asked for it takes {request.least}. Ask it to think less."
        )
    return request._replace(output_cap=cap)


def _is_cap(answer: Any) -> bool:
    return type(answer) is int and answer > 0
