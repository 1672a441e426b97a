"""Tasks and lone agents: whose account pays, and what is kept back for their last words."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, RLock, get_ident
from typing import Any, Final

from budget_core import BudgetSession
from budget_core.calls import context
from budget_core.money.amounts import ZERO, Amounts
from budget_core.runtime.background import told
from budget_core.session.policy import Reserve, reserve_for

_LONGEST_NAME: Final = 80
_KEPT_OUTPUTS: Final = 256
_counting = Lock()


@dataclass(eq=False)
class Run:
    """One kickoff of a crew: its tasks that are not done, and the outputs of those that are."""

    crew: Any = None
    units: list[Unit] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Unit:
    """A task, or an agent that runs without one.

    Attributes:
        name: the task's, for the report; None for a lone agent.
        session: through which its calls are paid.
        run: of the crew that it is a part of; a run of its own if there is none.
        kept: something is kept back for its last word.
        last_word: what it said when its money was gone; it is asked no more.
        place: the thread and the asyncio task in which a lone agent runs.
        limits: of the whole, when it began; they change when more is approved.
    """

    name: str | None
    session: BudgetSession
    run: Run
    kept: bool = False
    last_word: Any = None
    place: object = None
    limits: Any = None

    def keep(self, amounts: Amounts) -> None:
        """Keep back what its last word takes, or as much of that as can be spared."""
        if self.kept or amounts is not ZERO:
            self.session.keep_back(amounts)
        self.kept = amounts is not ZERO

    @property
    def spent(self) -> int:
        """The nanos that its calls came to so far."""
        totals = self.session.totals
        return totals.llm + sum(totals.tools.values())


class Units:
    """The units of one budget.

    Args:
        session: whose money they spend.
        limits: the sessions of tasks that have a limit of their own, by the task's name.
        reserve: what is kept back for the last words of all tasks of a crew together; "auto" for
            what they will take, None for nothing.
    """

    def __init__(
        self, session: BudgetSession, limits: Mapping[str, BudgetSession], reserve: Reserve | None
    ) -> None:
        self._session = session
        self._limits = limits
        self._reserve = reserve
        self._units: dict[object, Unit] = {}
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._lock = RLock()
        self.outputs: deque[Any] = deque(maxlen=_KEPT_OUTPUTS)

    # -- what CrewAI tells -------------------------------------------------------------------

    def begin(self, crew: Any) -> None:
        """Record a crew's tasks before its first call, so that each has its last word."""
        run = Run(crew)
        with self._lock:
            for task in crew.tasks:
                self._drop(task.id)
                self._add(task.id, Unit(name_of(task), self._open(task), run))
        if context.tool_sessions():
            return  # the last word is that of the agent whose tool the crew is
        share = self._share(len(run.units))
        if share is not None and share is not ZERO:
            for unit in run.units:
                self._tell(partial(unit.keep, share))

    def finish(self, task: Any, output: Any) -> None:
        with self._lock:
            self.outputs.append(output)
            if (unit := self._units.get(task.id)) is not None:
                unit.run.outputs.append(output)
            self._drop(task.id)

    def end(self, crew: Any) -> None:
        with self._lock:
            for task in crew.tasks:
                self._drop(task.id)

    def close(self) -> None:
        """Forget all of them; calls that were left open are charged in full."""
        with self._lock:
            units, self._units = list(self._units.values()), {}
        for unit in units:
            unit.session.close()
            self._count(unit)

    # -- what calls ask ----------------------------------------------------------------------

    def of(self, task: Any, agent: Any, opening: object) -> Unit | None:
        """Return the unit that a call belongs to, None if neither a task nor an agent makes it.

        Args:
            task: that is worked on.
            agent: who works.
            opening: what tells one run of a lone agent from another, how its messages begin;
                None for the last one.
        """
        with self._lock:
            if (outer := self._enclosing()) is not None:
                return outer
            if task is None and agent is None:
                return None
            key = task.id if task is not None else self._key(agent, opening)
            known = self._units.get(key)
            if known is not None and known.last_word and known.limits != self._session.limits:
                self._drop(key)  # more was approved since
            if (unit := self._units.get(key)) is None:
                if task is None:
                    self._drop_idle_agents()
                unit = Unit(name_of(task) if task else None, self._open(task), Run())
                unit.place = _place()
                self._add(key, unit)
            return unit

    def session_of(self, task: Any, agent: Any) -> BudgetSession:
        """Return the session through which is paid what an agent does for a task."""
        unit = self.of(task, agent, None)
        return self._session if unit is None else unit.session

    def start(self, task: Any) -> None:
        with self._lock:
            known = self._units.get(task.id)
            if known is not None and known.run.crew is None:
                self._drop(task.id)

    def limit_of(self, task: Any) -> BudgetSession | None:
        for name in (task.name, task.description) if task is not None else ():
            if name and (limit := self._limits.get(str(name).strip())) is not None:
                return limit
        return None

    def keep_back(self, unit: Unit, last_word: Amounts) -> None:
        """Keep back what a unit's last word takes now, and likewise for the tasks to come.

        Args:
            unit: that is about to make a call.
            last_word: what it would take instead.
        """
        if unit.session in context.tool_sessions():
            return
        if (share := self._share(1)) is not None:
            if not unit.kept:
                unit.keep(share)
            return
        unit.keep(last_word)
        for other in unit.run.units:
            if not other.kept:
                other.keep(last_word)

    # -- what users read ---------------------------------------------------------------------

    def spent(self) -> dict[str, int]:
        """Return the nanos that tasks have spent, by name."""
        with self._lock:
            with _counting:
                found = defaultdict(int, self._spent)
            for unit in self._units.values():
                if unit.name is not None:
                    found[unit.name] += unit.spent
        return dict(found)

    # -- inside ------------------------------------------------------------------------------

    def _open(self, task: Any) -> BudgetSession:
        label = name_of(task) if task is not None else None
        return (self.limit_of(task) or self._session).child_session(label=label)

    def _tell(self, action: Callable[[], None]) -> None:
        told(action, blocks=self._session.blocks)

    def _add(self, key: object, unit: Unit) -> None:
        self._units[key] = unit
        unit.limits = self._session.limits
        unit.run.units.append(unit)

    def _drop(self, key: object) -> None:
        if (unit := self._units.pop(key, None)) is not None:
            unit.run.units.remove(unit)
            self._tell(partial(unit.keep, ZERO))
            self._tell(partial(self._count, unit))

    def _key(self, agent: Any, opening: object) -> object:
        known = [k for k in self._units if isinstance(k, tuple) and k[0] == id(agent)]
        return known[-1] if opening is None and known else (id(agent), opening)

    def _drop_idle_agents(self) -> None:
        """Forget lone agents that ran here and have nothing in flight: nothing tells their end."""
        for key, unit in tuple(self._units.items()):
            here = unit.name is None and unit.place == _place()
            if here and not unit.session.in_flight:
                self._drop(key)

    def _count(self, unit: Unit) -> None:
        if unit.name is not None:
            with _counting:
                self._spent[unit.name] += unit.spent

    def _enclosing(self) -> Unit | None:
        for session in reversed(context.tool_sessions()):
            for unit in self._units.values():
                if unit.session is session:
                    return unit
        return None

    def _share(self, tasks: int) -> Amounts | None:
        """Return what is kept back for one of so many tasks; None if that is not fixed."""
        if self._reserve is None:
            return ZERO
        if self._reserve == "auto":
            return None
        usd, tokens, llm_calls, _ = reserve_for(self._reserve, self._limited().limits)
        return Amounts(usd // max(1, tasks), tokens // max(1, tasks), llm_calls, 0)

    def _limited(self) -> BudgetSession:
        limited = (s for s in self._session.lineage if s.limits.lifelong("usd") is not None)
        return next(limited, self._session)


def _place() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return get_ident(), task


def name_of(task: Any) -> str:
    text = " ".join(str(task.name or task.description).split())
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
