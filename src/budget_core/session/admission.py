"""Asking plugins before money is held: they may shorten an answer, or refuse the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from budget_core.errors import AgentBudgetError, CallRefused
from budget_core.runtime.plugins import asking

if TYPE_CHECKING:
    from budget_core.calls.request import CallRequest
    from budget_core.session.session import BudgetSession


def tightened(session: BudgetSession, request: CallRequest) -> CallRequest:
    """Return a call as plugins allow it: capped by the least that any of them says.

    Raises:
        AgentBudgetError: a plugin refuses it.
    """
    if not asking.listening("budget_reserve"):
        return request
    asked = ReserveRequest(session, request)
    try:
        caps = asking.every("budget_reserve", asked, sound=_is_cap, passing=AgentBudgetError)
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
        raise CallRefused(
            f"A call to {request.model!r} was refused: a plugin allows an answer of {cap} tokens, "
            f"and as it is asked for it takes {request.least}. Ask it to think less."
        )
    return request._replace(output_cap=cap)


def _is_cap(answer: Any) -> bool:
    return type(answer) is int and answer > 0


@dataclass(frozen=True, slots=True)
class ReserveRequest:
    """Which call is about to be held, and in which session."""

    session: BudgetSession
    call: CallRequest
