"""What tools cost: held before a tool is called, charged after it, both by CrewAI's hooks."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from budget_core import AgentBudgetError, BudgetExhausted
from budget_core.errors import SessionCancelled
from budget_crewai import steps
from budget_crewai.errors import stop, stopping
from budget_crewai.payer import Payer, role_of

if TYPE_CHECKING:
    from budget_core import Call

_BLOCKED: Final = "Tool execution blocked by hook."
_lock = Lock()
_open: dict[int, _Use] = {}


class _Use(NamedTuple):
    """A tool's call that is being made, or the error for which it is not.

    `arguments` is the mapping that both hooks of a call are shown, kept so that its id stays its.
    """

    arguments: Any
    payer: Payer
    call: Call | AgentBudgetError


def tool_starts(context: Any) -> bool | None:
    """Hold what a tool costs, and count it; False keeps the tool from being called."""
    payers = Payer.all_active()
    if not payers:
        return None
    try:
        call: Call | AgentBudgetError = _hold(payers, context)
    except AgentBudgetError as error:
        call = stopping(error)
    with _lock:
        _open[id(context.tool_input)] = _Use(context.tool_input, payers[0], call)
    return False if isinstance(call, AgentBudgetError) else None


def tool_ends(context: Any) -> str | None:
    """Charge a tool that was called; tell the agent, or the crew, of one that was not.

    Raises:
        BudgetExhausted, LoopDetected: the tool was refused, and that is to stop the crew.
    """
    with _lock:
        use = _open.pop(id(context.tool_input), None)
    if use is None:
        return None
    call = use.call
    if isinstance(call, AgentBudgetError):
        if isinstance(call, BudgetExhausted) and not isinstance(call, SessionCancelled):
            return use.payer.tool_refusal(context.tool_name, call)
        raise call
    if _blocked(context):
        call.abort()
    else:
        call.finish()
    return None


def sweep(payer: Payer) -> None:
    """Charge calls of tools whose end CrewAI never told."""
    with _lock:
        left = [key for key, use in _open.items() if use.payer is payer]
        uses = [_open.pop(key) for key in left]
    for use in uses:
        if not isinstance(use.call, AgentBudgetError):
            use.call.finish()


def _hold(payers: Sequence[Payer], context: Any) -> Call:
    step = steps.current()
    task, agent = context.task or step.task, context.agent or step.agent
    session, *others = (payer.units.session_of(task, agent) for payer in payers)
    limits = [limit for payer in payers for limit in payer.limits_of(agent, task)]
    name = context.tool_name
    names = (name, getattr(context.tool, "name", None) or name)
    request = payers[0].tool_request(name, context.tool_input, agent=role_of(agent), mixin=stop())
    cost = max(payer.tool_cost(each) for payer in payers for each in names)
    return session.open_call(request._replace(cost=cost), joining=(*others, *limits))


def _blocked(context: Any) -> bool:
    """Return whether a hook of the program's own kept the tool from being called."""
    text = str(context.raw_tool_result)
    return text == context.tool_result and text.startswith(_BLOCKED)
