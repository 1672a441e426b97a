"""Teams whose calls are paid for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import aclosing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from autogen_agentchat.base import OrTerminationCondition
from autogen_agentchat.teams import BaseGroupChat, MagenticOneGroupChat, SelectorGroupChat
from autogen_core import AgentId

from budget_autogen.agentchat.agents import paid_client
from budget_autogen.agentchat.termination import BudgetTermination
from budget_autogen.agentchat.tools import teaming
from budget_autogen.paying import Noted, Payers, derived
from budget_core.frameworks import stepped

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker


class BudgetedTeam(BaseGroupChat):
    """What a team does differently while its calls are paid for. See `budgeted_team`."""

    _budget_payers: Payers
    _budget_endings: dict[AutoGenBudgetTracker, BudgetTermination]

    async def run_stream(self, **arguments: Any) -> AsyncGenerator[Any, None]:
        """Run the team, with its payers paying for every SDK call that is made in it.

        Raises:
            BudgetExhausted: a call did not fit. AutoGen would make a RuntimeError of it.
        """
        await self._take_effect()
        noted = Noted()

        @contextmanager
        def running() -> Iterator[None]:
            ending = bool(self._budget_endings)
            with self._budget_payers.paying(), noted.noting(), teaming(ending=ending):
                yield

        try:
            async with aclosing(stepped(super().run_stream(**arguments), running)) as items:
                async for item in items:
                    yield item
        except RuntimeError as error:
            if (cause := noted.quoted(error)) is None:
                raise
            self._budget_payers.note(cause)  # for a team around this one
            raise cause from error

    async def _take_effect(self) -> None:
        """Bring the manager up to date: it is made at the first run, of what the team had then."""
        paid_client(self, self._budget_payers)
        if not self._initialized:
            return
        address = AgentId(type=self._group_chat_manager_topic_type, key=self._team_id)
        manager: Any = await self._runtime.try_get_underlying_agent_instance(address)
        manager._termination_condition = self._termination_condition  # noqa: SLF001
        if (client := getattr(self, "_model_client", None)) is not None:
            manager._model_client = client  # noqa: SLF001


@cache
def budgeted_team(kind: Hashable) -> Any:
    assert isinstance(kind, type)  # noqa: S101
    return derived(kind, BudgetedTeam)


def manager_of(team: Any) -> Payers:
    """Return the payers of a team's manager, which has a model of its own in some teams.

    A selector whose call does not fit names the first participant, who then gets to speak last.
    """
    first = team._participant_names[0] if isinstance(team, SelectorGroupChat) else None  # noqa: SLF001
    return Payers(team._group_chat_manager_name, speaks=False, stand_in=first)  # noqa: SLF001


def end_with(team: Any, tracker: AutoGenBudgetTracker) -> None:
    condition = team._termination_condition  # noqa: SLF001
    known = (part.tracker for part in _parts(condition) if isinstance(part, BudgetTermination))
    if tracker.on_exhausted == "raise" or tracker in known:
        return
    orchestrated = isinstance(team, MagenticOneGroupChat)  # its orchestrator speaks last
    ours = BudgetTermination(tracker, last_word=not orchestrated)
    ours.participants = tuple(team._participants)  # noqa: SLF001
    team._budget_endings[tracker] = ours  # noqa: SLF001
    team._termination_condition = ours if condition is None else condition | ours  # noqa: SLF001


def end_without(team: Any, tracker: AutoGenBudgetTracker) -> None:
    ours = team._budget_endings.pop(tracker, None)  # noqa: SLF001
    if ours is not None:
        ours.watching = False  # the team's manager may keep it
        team._termination_condition = _without(team._termination_condition, ours)  # noqa: SLF001


def _parts(condition: Any) -> list[Any]:
    if condition is None:
        return []
    inner = getattr(condition, "_conditions", ())
    return [condition, *(part for one in inner for part in _parts(one))]


def _without(condition: Any, gone: BudgetTermination) -> Any:
    if condition is gone:
        return None
    if not isinstance(condition, OrTerminationCondition) or gone not in _parts(condition):
        return condition
    left = [kept for part in condition._conditions if (kept := _without(part, gone)) is not None]  # noqa: SLF001
    return left[0] if len(left) == 1 else OrTerminationCondition(*left)
