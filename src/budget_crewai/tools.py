"""What tools cost: held before a tool is called, charged after it, both by CrewAI's hooks."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from budget_core import AgentBudgetError, BudgetExhausted, CallRequest
from budget_core.errors import SessionCancelled
from budget_core.frameworks.last_word import TOOL_REFUSED
from budget_crewai import active, steps
from budget_crewai.errors import stop, stopping
from budget_crewai.payer import Payer, role_of
from budget_crewai.requests import tool_fingerprint

if TYPE_CHECKING:
    from budget_core import BudgetSession, Call

_BLOCKED: Final = "Tool execution blocked by hook."
_lock = Lock()
_open: dict[int, _Use] = {}


class _Use(NamedTuple):
    """A tool's call that is being made, or the error for which it is not.

    `arguments` is the mapping that both hooks of a call are shown, kept so that its id stays its.
    """

    arguments: Any
    middleware: Payer
    call: Call | None = None
    error: AgentBudgetError | None = None


def tool_starts(context: Any) -> bool | None:
    """Hold what a tool costs, and count it; False keeps the tool from being called."""
    payers = active.payers()
    if not payers:
        return None
    try:
        use = _Use(context.tool_input, payers[-1], call=_hold(payers, context))
    except AgentBudgetError as error:
        use = _Use(context.tool_input, payers[-1], error=error)
    with _lock:
        _open[id(context.tool_input)] = use
    return None if use.error is None else False


def tool_ends(context: Any) -> str | None:
    """Charge a tool that was called; tell the agent, or everybody, of one that was not.

    Raises:
        BudgetExhausted, LoopDetected: the tool was refused, and that is to stop the crew.
    """
    with _lock:
        use = _open.pop(id(context.tool_input), None)
    if use is None:
        return None
    if use.call is not None:
        if _blocked(context):
            use.call.abort()
        else:
            use.call.finish()
        return None
    error = use.error
    goes_on = use.middleware.on_exhausted == "finalize" and isinstance(error, BudgetExhausted)
    if error is not None and (not goes_on or isinstance(error, SessionCancelled)):
        raise stopping(error)
    return TOOL_REFUSED.format(tool=context.tool_name)


def sweep(middleware: Payer) -> None:
    """Charge calls of tools whose end CrewAI never told."""
    with _lock:
        left = [key for key, use in _open.items() if use.middleware is middleware]
        uses = [_open.pop(key) for key in left]
    for use in uses:
        if use.call is not None:
            use.call.finish()


def _hold(payers: Sequence[Payer], context: Any) -> Call:
    step = steps.current()
    task, agent = context.task or step.task, context.agent or step.agent
    paying: list[BudgetSession] = []
    for middleware in payers:
        unit = middleware.units.of(task, agent, None)
        paying.append(unit.session if unit is not None else middleware.session)
    limits = [limit for m in payers for limit in m.limits_of(agent, task)]
    names = (context.tool_name, getattr(context.tool, "name", None) or context.tool_name)
    request = CallRequest(
        kind="tool",
        name=context.tool_name,
        cost=max(m.tool_cost(name) for m in payers for name in names),
        fingerprint=tool_fingerprint(context.tool_name, context.tool_input),
        agent=role_of(agent),
        mixin=stop(),
    )
    return paying[-1].open_call(request, joining=(*paying[:-1], *limits))


def _blocked(context: Any) -> bool:
    """Tell whether a hook of the program's own kept the tool from being called."""
    text = str(context.raw_tool_result)
    return text == context.tool_result and text.startswith(_BLOCKED)
