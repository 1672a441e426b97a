"""Tools of AgentChat's agents: held before they run, and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from autogen_core.models import FunctionExecutionResult

from budget_autogen.agentchat.requests import tool_fingerprint
from budget_core import AgentBudgetError, BudgetExhausted, Call, CallRequest
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.lastword import TOOL_REFUSED

if TYPE_CHECKING:
    from autogen_core import FunctionCall

    from budget_autogen.payers import Payers

Executed: TypeAlias = "tuple[FunctionCall, FunctionExecutionResult]"


class Turn:
    """An agent's turn: who pays for its tools, and why it cannot go on.

    An error raised where AgentChat executes tools would let the agent wait for ever, so it is kept
    here, to be raised by the agent itself.
    """

    def __init__(self, payers: Payers) -> None:
        self.payers = payers
        self.error: AgentBudgetError | None = None

    def check(self) -> None:
        """Raise what ended the turn, if anything did."""
        if self.error is not None:
            raise self.error

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let its payers pay for the tools and the SDK calls made inside."""
        before = _turn.get()
        _turn.set(self)
        try:
            with self.payers.paying():
                yield
        finally:
            _turn.set(before)


_turn: ContextVar[Turn | None] = ContextVar("budget_autogen_turn", default=None)


def tool_executor(execute: Callable[..., Awaitable[Executed]]) -> Any:
    """Return an agent class's way of executing a tool, with a hold around it.

    A tool that the budget refuses is told to the model as one that failed. A handoff is no tool.
    """

    async def paid(
        tool_call: FunctionCall, workbench: Any, handoff_tools: Any, *args: Any, **kwargs: Any
    ) -> Executed:
        turn = _turn.get()
        if turn is None or any(tool.name == tool_call.name for tool in handoff_tools):
            return await execute(tool_call, workbench, handoff_tools, *args, **kwargs)
        try:
            call = await _opened(turn.payers, tool_call)
        except AgentBudgetError as error:
            told = isinstance(error, BudgetExhausted) and not turn.payers.raises
            if not told or isinstance(error, SessionCancelled | SessionFinalized):
                turn.error = error
            return tool_call, _refused(tool_call)
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


def _refused(tool_call: FunctionCall) -> FunctionExecutionResult:
    return FunctionExecutionResult(
        content=TOOL_REFUSED.format(tool=tool_call.name),
        name=tool_call.name,
        call_id=tool_call.id,
        is_error=True,
    )
