"""Tools of AgentChat's agents: held before they run, and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from autogen_core.models import FunctionExecutionResult

from budget_autogen.agentchat.requests import tool_fingerprint
from budget_core import BudgetExhausted, Call, CallRequest
from budget_core.errors import SessionCancelled, SessionFinalized

if TYPE_CHECKING:
    from autogen_core import FunctionCall

    from budget_autogen.payers import Payers

Executed: TypeAlias = "tuple[FunctionCall, FunctionExecutionResult]"

_running: ContextVar[Payers | None] = ContextVar("budget_autogen_running", default=None)


@contextmanager
def running(payers: Payers) -> Iterator[None]:
    """Let the tools that are called inside be paid for."""
    before = _running.get()
    _running.set(payers)
    try:
        yield
    finally:
        _running.set(before)


def tool_executor(execute: Callable[..., Awaitable[Executed]]) -> Any:
    """Return an agent class's way of executing a tool, with a hold around it.

    A tool that the budget refuses is told to the model as one that failed. A handoff is no tool.
    """

    async def paid(
        tool_call: FunctionCall, workbench: Any, handoff_tools: Any, *args: Any, **kwargs: Any
    ) -> Executed:
        payers = _running.get()
        if payers is None or any(tool.name == tool_call.name for tool in handoff_tools):
            return await execute(tool_call, workbench, handoff_tools, *args, **kwargs)
        try:
            call = await _opened(payers, tool_call)
        except BudgetExhausted as error:
            return tool_call, _refused(payers, tool_call, error)
        with call:
            return await execute(tool_call, workbench, handoff_tools, *args, **kwargs)

    return paid


async def _opened(payers: Payers, tool_call: FunctionCall) -> Call:
    request = CallRequest(
        kind="tool",
        name=tool_call.name,
        cost=payers.tool_cost(tool_call.name),
        fingerprint=tool_fingerprint(tool_call),
        agent=payers.agent,
    )
    return await payers.session.open_call_async(request, joining=payers.joining)


def _refused(
    payers: Payers, tool_call: FunctionCall, error: BudgetExhausted
) -> FunctionExecutionResult:
    if payers.raises or isinstance(error, SessionCancelled | SessionFinalized):
        raise error
    return FunctionExecutionResult(
        content=f"{tool_call.name} was stopped: its budget is spent ({error.unit}). "
        "Do not call it again; answer with what you have.",
        name=tool_call.name,
        call_id=tool_call.id,
        is_error=True,
    )
