"""`BudgetTermination`: a team's run ends when the money does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

from autogen_agentchat.base import TerminatedException, TerminationCondition
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, StopMessage
from autogen_core import Component
from pydantic import BaseModel

from budget_autogen.paying import payers_of
from budget_autogen.saved import SavedTracker, load_tracker, save_tracker
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import BudgetSession
from budget_core.runtime.background import asked


class BudgetTerminationConfig(BaseModel):
    """The condition as a component: whose money it watches."""

    tracker: SavedTracker
    last_word: bool


class BudgetTermination(TerminationCondition, Component[BudgetTerminationConfig]):
    """Ends a team's run once its budget is spent, or that of one of the agents in it.

    The run then returns a ``TaskResult`` whose ``stop_reason`` says what was spent, and whose last
    message is the last word. Combine it with other conditions by ``|`` and ``&``.

    Args:
        budget: the tracker that pays for the team, or a session.
        last_word: while there is a finalization reserve, wait until an agent has spent it.

    Attributes:
        participants: agents whose own budgets end the run, too.
        watching: it ends anything at all.
    """

    component_config_schema = BudgetTerminationConfig
    component_provider_override = "budget_autogen.agentchat.BudgetTermination"

    def __init__(
        self, budget: AutoGenBudgetTracker | BudgetSession, *, last_word: bool = True
    ) -> None:
        if isinstance(budget, BudgetSession):
            budget = AutoGenBudgetTracker(session=budget)
        if not isinstance(budget, AutoGenBudgetTracker):
            raise TypeError(f"BudgetTermination takes a tracker or a session; got {budget!r}")
        self.tracker = budget
        self.last_word = last_word
        self.participants: tuple[Any, ...] = ()
        self.watching = True
        self._terminated = False

    @property
    def terminated(self) -> bool:
        """The run was told to end."""
        return self._terminated

    async def __call__(
        self,
        messages: Sequence[BaseAgentEvent | BaseChatMessage],  # noqa: ARG002  money says it all
    ) -> StopMessage | None:
        """Return a message that ends the run, if there is no money left."""
        if self._terminated:
            raise TerminatedException("Termination condition has already been reached")
        watched = tuple(self._watched()) if self.watching else ()
        blocks = any(session.ledger.blocks for _, _, session in watched)
        reason = await asked(partial(self._ended, watched), blocks=blocks)
        if reason is None:
            return None
        self._terminated = True
        return StopMessage(content=reason, source="BudgetTermination")

    def _ended(
        self, watched: Sequence[tuple[str, AutoGenBudgetTracker, BudgetSession]]
    ) -> str | None:
        for agent, tracker, session in watched:
            waits = self.last_word and tracker.has_last_word(session)
            if session.exhausted and not waits:
                return _reason(agent, session)
        return None

    def _watched(self) -> Iterator[tuple[str, AutoGenBudgetTracker, BudgetSession]]:
        yield "", self.tracker, self.tracker.session
        for agent, session in self.tracker.agents.items():
            yield agent, self.tracker, session
        for participant in self.participants:
            payers = payers_of(participant)
            if payers is None:
                continue
            for tracker in payers.trackers:
                if tracker is not self.tracker:
                    yield participant.name, tracker, payers.session_for(tracker)

    async def reset(self) -> None:
        """Let the team run again; it ends at once if there is still no money."""
        self._terminated = False

    def _to_config(self) -> BudgetTerminationConfig:
        return BudgetTerminationConfig(tracker=save_tracker(self.tracker), last_word=self.last_word)

    @classmethod
    def _from_config(cls, config: BudgetTerminationConfig) -> Self:
        return cls(load_tracker(config.tracker), last_word=config.last_word)


def _reason(agent: str, session: BudgetSession) -> str:
    whose = f"Budget of {agent}" if agent else "Budget"
    limits = ", ".join(map(str, session.limits.every)) or "no limit"
    how = "finalized" if session.finalized else "exhausted"
    return f"{whose} {how}: ${session.spent:.6g} spent of {limits}"
