"""Teams that somebody pays for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from functools import cache
from typing import TYPE_CHECKING, Any

from autogen_agentchat.base import OrTerminationCondition
from autogen_agentchat.teams import BaseGroupChat, MagenticOneGroupChat, SelectorGroupChat
from autogen_core import AgentId

from budget_autogen.agentchat.agents import paid_client
from budget_autogen.agentchat.steps import stepped
from budget_autogen.agentchat.termination import BudgetTermination
from budget_autogen.payers import Payers

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker


class BudgetedTeam(BaseGroupChat):
    """What a team has while somebody pays for it. Not made by itself: see `budgeted_team`."""

    payers: Payers

    async def run_stream(self, **arguments: Any) -> AsyncGenerator[Any, None]:
        """Run the team, with its payers paying for every SDK call that is made in it.

        Raises:
            BudgetExhausted: a call did not fit. AutoGen would make a RuntimeError of it.
        """
        await self._take_effect()
        stream = super().run_stream(**arguments)
        try:
            async with aclosing(stepped(stream, self.payers.paying)) as items:
                async for item in items:
                    yield item
        except RuntimeError as error:
            if (cause := self.payers.noted(error)) is None:
                raise
            raise cause from error

    async def _take_effect(self) -> None:
        """Bring the manager up to date: it is made at the first run, of what the team had then."""
        paid_client(self, self.payers)
        if not self._initialized:
            return
        address = AgentId(type=self._group_chat_manager_topic_type, key=self._team_id)
        manager: Any = await self._runtime.try_get_underlying_agent_instance(address)
        manager._termination_condition = self._termination_condition  # noqa: SLF001
        if (client := getattr(self, "_model_client", None)) is not None:
            manager._model_client = client  # noqa: SLF001


@cache
def budgeted_team(kind: Hashable) -> Any:
    """Return the class that a team of `kind` has while somebody pays for it."""
    assert isinstance(kind, type)  # noqa: S101
    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (BudgetedTeam, kind), names)


def manager_of(team: Any) -> Payers:
    """Return the payers of a team's manager, which has a model of its own in some teams.

    A selector whose call does not fit names the first participant, who then gets to speak last.
    """
    first = team._participant_names[0] if isinstance(team, SelectorGroupChat) else None  # noqa: SLF001
    return Payers(team._group_chat_manager_name, speaks=False, stand_in=first)  # noqa: SLF001


def end_with(team: Any, tracker: AutoGenBudgetTracker) -> None:
    """Let a team's run end when the tracker's money does, unless that is to raise."""
    condition = team._termination_condition  # noqa: SLF001
    known = (part.tracker for part in _parts(condition) if isinstance(part, BudgetTermination))
    if tracker.on_exhausted == "raise" or tracker in known:
        return
    orchestrated = isinstance(team, MagenticOneGroupChat)  # its orchestrator speaks last
    ours = BudgetTermination(tracker, last_word=not orchestrated)
    team._budget_endings[tracker] = ours  # noqa: SLF001
    team._termination_condition = ours if condition is None else condition | ours  # noqa: SLF001


def end_without(team: Any, tracker: AutoGenBudgetTracker) -> None:
    """Undo `end_with`."""
    ours = team._budget_endings.pop(tracker, None)  # noqa: SLF001
    if ours is not None:
        team._termination_condition = _without(team._termination_condition, ours)  # noqa: SLF001


def _parts(condition: Any) -> list[Any]:
    if condition is None:
        return []
    inner = getattr(condition, "_conditions", ())
    return [condition, *(part for one in inner for part in _parts(one))]


def _without(condition: Any, gone: BudgetTermination) -> Any:
    """Return a condition as it was before `gone` was added to it."""
    if condition is gone:
        return None
    if not isinstance(condition, OrTerminationCondition) or gone not in _parts(condition):
        return condition
    left = [kept for part in condition._conditions if (kept := _without(part, gone)) is not None]  # noqa: SLF001
    return left[0] if len(left) == 1 else OrTerminationCondition(*left)
