"""Tools of AgentChat's agents: held before they run, and counted."""

from __future__ import annotations

import contextvars
import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from autogen_core.models import FunctionExecutionResult
from autogen_core.tools import FunctionTool

from budget_core import AgentBudgetError, BudgetExhausted, Call
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.frameworks import TOOL_REFUSED, Stack

if TYPE_CHECKING:
    from autogen_core import FunctionCall

    from budget_autogen.paying import Payers

Executed: TypeAlias = "tuple[FunctionCall, FunctionExecutionResult]"


class Turn:
    """An agent's turn: who pays for its tools, and why it cannot go on.

    An error raised where AgentChat executes tools would let the agent wait for ever, so it is kept
    here, to be raised by the agent itself.
    """

    def __init__(self, payers: Payers) -> None:
        self.payers = payers
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.error = error
        if isinstance(error, AgentBudgetError):
            self.payers.note(error)

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    @contextmanager
    def running(self) -> Iterator[None]:
        with _turns.attached(self), self.payers.paying():
            yield


_team: ContextVar[bool] = ContextVar("budget_autogen_team", default=False)


def in_team() -> bool:
    """Return whether this runs in a team that ends when the money does."""
    return _team.get()


@contextmanager
def teaming(*, ending: bool) -> Iterator[None]:
    before = _team.get()
    _team.set(ending)
    try:
        yield
    finally:
        _team.set(before)


_turns: Final[Stack[Turn]] = Stack("budget_autogen_turns")


def tool_executor(execute: Callable[..., Awaitable[Executed]]) -> Any:
    """Return an agent class's way of executing a tool, with a hold around it.

    A tool that the budget refuses is told to the model as one that failed. A handoff is no tool.
    """

    async def paid(
        tool_call: FunctionCall, workbench: Any, handoff_tools: Any, *args: Any, **kwargs: Any
    ) -> Executed:
        handoff = any(tool.name == tool_call.name for tool in handoff_tools)
        *_, turn = (None, *_turns.get())
        if turn is None or not turn.payers.trackers or handoff:
            return await execute(tool_call, workbench, handoff_tools, *args, **kwargs)
        try:
            with await _opened(turn.payers, tool_call):
                return await execute(tool_call, workbench, handoff_tools, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  see `Turn`
            over = isinstance(error, SessionCancelled | SessionFinalized) or turn.payers.raises
            if over or not isinstance(error, BudgetExhausted):
                turn.fail(error)
            return tool_call, _refused(tool_call)

    return paid


async def _opened(payers: Payers, tool_call: FunctionCall) -> Call:
    request = payers.tool_request(tool_call.name, tool_call.arguments)
    return await payers.session.open_call_async(request, joining=payers.joining)


def _refused(tool_call: FunctionCall) -> FunctionExecutionResult:
    return FunctionExecutionResult(
        content=TOOL_REFUSED.format(tool=tool_call.name),
        name=tool_call.name,
        call_id=tool_call.id,
        is_error=True,
    )


def _carrying(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let a tool that is a plain function know who pays, in the thread in which it is run."""

    @functools.wraps(run)
    async def carried(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = self._func
        if not _turns.get() or inspect.iscoroutinefunction(function):
            return await run(self, *args, **kwargs)
        twin = copy.copy(self)
        twin._func = functools.partial(contextvars.copy_context().run, function)  # noqa: SLF001
        return await run(twin, *args, **kwargs)

    return carried


FunctionTool.run = _carrying(FunctionTool.run)  # type: ignore[assignment,method-assign]
