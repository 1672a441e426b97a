"""Asking plugins before money is held: they may shorten an answer, or refuse the call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from budget_core import hooks
from budget_core.errors import AgentBudgetError

if TYPE_CHECKING:
    from budget_core.call import CallRequest
    from budget_core.session import BudgetSession

_log = logging.getLogger("budget_core")


def tightened(session: BudgetSession, request: CallRequest) -> CallRequest:
    """Return a call as plugins allow it: capped by the least that any of them says.

    Raises:
        AgentBudgetError: a plugin refuses it.
    """
    if not hooks.listening("budget_reserve"):
        return request
    asked = hooks.ReserveRequest(session, request)
    try:
        answers = hooks.every("budget_reserve", asked, passing=AgentBudgetError)
    except AgentBudgetError as error:
        session.vetoed(error, request)
        raise
    caps = [cap for cap in answers if isinstance(cap, int) and cap > 0]
    if len(caps) < len(answers):
        _log.error("A budget_reserve hook must return tokens, 1 or more, or None: %r", answers)
    if request.output_cap is not None:
        caps.append(request.output_cap)
    if request.kind == "tool" or not caps or min(caps) == request.output_cap:
        return request
    return request._replace(output_cap=min(caps))
