"""Who pays for an agent's calls, and what happens when the money is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core import scope
from budget_core.lastword import may_finalize

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker
    from budget_core import BudgetExhausted, BudgetSession


class Payers:
    """The trackers that an agent is attached to, the innermost first.

    Args:
        agent: its name, for the report and for limits of its own.
        speaks: it can finish with a last word; a selector or an orchestrator, of whose answers a
            program makes sense, cannot.
    """

    def __init__(self, agent: str, *, speaks: bool = True) -> None:
        self.agent = agent
        self.speaks = speaks
        self.trackers: tuple[AutoGenBudgetTracker, ...] = ()

    def add(self, tracker: AutoGenBudgetTracker) -> None:
        """Let a tracker pay as well; the limits that lie around its own need not be named."""
        session = tracker.session_of(self.agent)
        if any(session in self._session(known).lineage for known in self.trackers):
            return
        others = (t for t in self.trackers if self._session(t) not in session.lineage)
        self.trackers = (tracker, *others)

    def remove(self, tracker: AutoGenBudgetTracker) -> None:
        """Undo `add`."""
        self.trackers = tuple(known for known in self.trackers if known is not tracker)

    @property
    def session(self) -> BudgetSession:
        """In whose name the agent's calls are held."""
        return self._session(self.trackers[0])

    @property
    def joining(self) -> tuple[BudgetSession, ...]:
        """The others whose money it is: of other trackers, and of agents whose tool this one is."""
        others = (self._session(tracker) for tracker in self.trackers[1:])
        mine = self.session
        return tuple(s for s in (*others, *scope.tool_sessions()) if s is not mine)

    def tool_cost(self, tool: str) -> int:
        """Return the nanos that a call of a tool costs: the highest price that a tracker knows."""
        return max(tracker.tool_cost(tool) for tracker in self.trackers)

    def guard(self) -> None:
        """Guard the SDKs that are loaded by now, where a tracker wants that."""
        for tracker in self.trackers:
            tracker.guard()

    def to_finalize(self, error: BudgetExhausted) -> BudgetSession:
        """Return the session whose reserve pays for the last word, or raise the error."""
        raises = self.trackers[0].on_exhausted == "raise"
        if raises or not self.speaks or not may_finalize(self.session, error):
            raise error
        return self.session

    def _session(self, tracker: AutoGenBudgetTracker) -> BudgetSession:
        return tracker.session_of(self.agent)
