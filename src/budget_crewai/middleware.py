"""`CrewAIBudgetMiddleware`: a budget for everything that crews, flows and agents do."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from importlib.util import find_spec
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from budget_core.calls import context
from budget_core.money.amounts import ZERO
from budget_core.money.usd import Money, parse_cost, to_usd
from budget_core.runtime.background import asked
from budget_core.session.policy import Reserve, reserve_for
from budget_crewai import steps, tools
from budget_crewai.payer import Payer
from budget_crewai.units import Units

if TYPE_CHECKING:
    from budget_core import AgentBudget, BudgetSession
    from budget_core.money.limits import Limit

T = TypeVar("T")

_RESULTS: Final = frozenset({"CrewOutput", "TaskOutput", "LiteAgentOutput", "CrewStreamingOutput"})

if find_spec("crewai") is None:
    raise ImportError(
        "budget_crewai.CrewAIBudgetMiddleware needs crewai: pip install 'budget-suite[crewai]'"
    )


class CrewAIBudgetMiddleware(Payer):
    """Holds every call of a model and of a tool before it is made, and settles it afterwards.

    >>> with CrewAIBudgetMiddleware("$3.00", tasks={"research": "$0.50"}) as budget:
    ...     crew.kickoff()
    >>> budget.kickoff(crew, inputs={"topic": "tides"})  # the same in one line

    Used with ``with`` or ``async with``, it watches all crews, flows and agents that run inside,
    in any thread or task that they start, and pays for every SDK call made there besides: memory,
    knowledge, structured outputs, the program's own.

    Args:
        budget: "$3.00", 3, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        agents: a limit for all calls of an agent, by its role.
        tasks: a limit for all that is done for a task, by its name or its description.
        on_exhausted: "raise" stops the crew at once. "finalize" gives every agent that is at work
            one last call, without tools and with `wrap_up`, so that each task has an output.
        finalization_reserve: what is kept back for the last calls of all tasks of a crew: a
            fraction, an amount, or "auto" for what they would take as things stand.
        **options: everything else that `AgentIntegration` and `AgentBudget` take.

    Raises:
        BudgetExhausted, LoopDetected, UnknownModel, Unbounded: out of the crew, each also CrewAI's
            ``HookAborted``. Their ``result`` are the outputs of the tasks that were done.
    """

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        agents: Mapping[str, Money | BudgetSession] | None = None,
        tasks: Mapping[str, Money] | None = None,
        on_exhausted: Literal["raise", "finalize"] = "raise",
        finalization_reserve: Reserve = "auto",
        **options: Any,
    ) -> None:
        roles = {role.strip(): limit for role, limit in (agents or {}).items()}
        super().__init__(budget, agents=roles, on_exhausted=on_exhausted, **options)
        reserve_for(finalization_reserve, self.session.limits)
        limits = {
            task.strip(): self.session.child_session(limit, label=task.strip())
            for task, limit in (tasks or {}).items()
        }
        reserve = finalization_reserve if on_exhausted == "finalize" else None
        self.units = Units(self.session, limits, reserve)
        self._entering = RLock()
        self._blocks = 0
        self._declared = 0
        self._tracked = 0
        _install()

    # -- running -----------------------------------------------------------------------------

    def kickoff(self, crew: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a crew, a flow or an agent under this budget: ``kickoff(crew, inputs={…})``."""
        with self._paying():
            return crew.kickoff(*args, **kwargs)

    async def akickoff(self, crew: Any, *args: Any, **kwargs: Any) -> Any:
        """Async version of `kickoff`."""
        run = getattr(crew, "akickoff", None) or crew.kickoff_async
        async with self._paying_async():
            return await run(*args, **kwargs)

    def kickoff_for_each(self, crew: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a crew for each of several inputs: ``kickoff_for_each(crew, inputs=[…])``."""
        with self._paying():
            return crew.kickoff_for_each(*args, **kwargs)

    async def akickoff_for_each(self, crew: Any, *args: Any, **kwargs: Any) -> Any:
        """Async version of `kickoff_for_each`, for all inputs at once."""
        async with self._paying_async():
            return await crew.akickoff_for_each(*args, **kwargs)

    def track(self, result: T = None, cost: Money = 0, tool_name: str = "tool") -> T:  # type: ignore[assignment]
        """Record what something cost, in dollars, after the fact; return `result`.

        What a crew returns was metered as it ran: of its cost, only what exceeds all that was
        metered and not yet declared is charged. Anything else is charged in full.

        Raises:
            BudgetExhausted: this brought the spend over the limit. It is recorded all the same,
                and the error carries `result`.
        """
        declared = nanos = parse_cost(cost)
        with self._entering:
            if _is_crews(result):
                metered = self.session.spent_nanos - self._declared
                nanos = max(0, nanos - (metered - self._tracked))
                self._tracked += min(declared, metered - self._tracked)
            self._declared += nanos
        return self.session.track(result, cost=Decimal(nanos).scaleb(-9), tool_name=tool_name)

    # -- what users read ---------------------------------------------------------------------

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`).

        Beside what a session tells, ``breakdown["tasks"]["by_task"]`` has the dollars spent for
        each task, and ``task_outputs`` what was done: the last 256 tasks, oldest first.
        """
        report = super().get_report()
        spent = {name: to_usd(nanos) for name, nanos in self.units.spent().items()}
        report["breakdown"]["tasks"] = {"by_task": spent}
        report["task_outputs"] = [
            {"task": output.name, "agent": output.agent, "output": output.raw}
            for output in tuple(self.units.outputs)
        ]
        return report

    report = get_report

    # -- entering ----------------------------------------------------------------------------

    @property
    def entered(self) -> bool:
        """A block of it has begun and not ended, here or elsewhere."""
        return self._blocks > 0

    def begin(self) -> None:
        """Pay for what is asked in this context from here on; ``with`` does it."""
        _install()
        super().begin()
        steps.begin_block(self)

    def end(self) -> None:
        """Undo `begin`."""
        try:
            steps.end_block(self)
        finally:
            super().end()

    def watch(self) -> Callable[[], None]:
        """Watch crews wherever the session pays, without a ``with``; return what ends that."""
        unwatch = super().watch()

        def end() -> None:
            unwatch()
            self._abandon()

        return end

    def __enter__(self) -> Self:
        with self._block():
            return super().__enter__()

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036
        if not self._goes_on():
            try:
                self._abandon()
            finally:
                super().__exit__(*error)

    async def __aenter__(self) -> Self:
        with self._block():
            return await super().__aenter__()

    async def __aexit__(self, *error: Any) -> None:  # noqa: PYI036
        if not self._goes_on():
            try:  # CrewAI cancels the task of a stream once its last part is read
                await asked(self._abandon, blocks=self.session.blocks)
            finally:
                await super().__aexit__(*error)

    @contextmanager
    def _block(self) -> Iterator[None]:
        with self._entering:
            self._blocks += 1
        try:
            yield
        except BaseException:
            with self._entering:
                self._blocks -= 1
            raise

    def _goes_on(self) -> bool:
        """Leave a block; return whether there is another one: a stream that it began still runs."""
        with self._entering:
            self._blocks -= 1
            if not self._blocks:
                return False
        self.end()
        if self._owned:
            context.leave(self.session)
        return True

    def _abandon(self) -> None:
        """Charge what CrewAI never ended, and free what is kept back for last words."""
        tools.sweep(self)
        self.units.close()
        for limit in self.agents.values():
            limit.keep_back(ZERO)

    @property
    def _watches(self) -> bool:
        return self in self.all_active() and not self.session.closed

    @contextmanager
    def _paying(self) -> Iterator[None]:
        if self._watches:
            yield
        else:
            with self:
                yield

    @asynccontextmanager
    async def _paying_async(self) -> AsyncIterator[None]:
        if self._watches:
            yield
        else:
            async with self:
                yield


def _install() -> None:
    # CrewAI takes seconds to import: not before there is a budget for it
    from budget_crewai.models import install  # noqa: PLC0415

    install()


def _is_crews(result: object) -> bool:
    """Return whether CrewAI made a result."""
    return any(
        kind.__name__ in _RESULTS and kind.__module__.partition(".")[0] == "crewai"
        for each in (result if isinstance(result, list) else [result])
        for kind in type(each).__mro__
    ) and not inspect.isclass(result)
