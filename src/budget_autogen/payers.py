"""Who pays for an agent's calls, and what happens when the money is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from budget_core import AgentBudgetError, scope
from budget_core.integration import guarding
from budget_core.lastword import may_finalize

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker
    from budget_core import BudgetExhausted, BudgetSession


class Payers:
    """The trackers that an agent is attached to; what the first one says holds at the limit.

    Args:
        agent: its name, for the report and for limits of its own.
        speaks: it can finish with a last word; a selector or an orchestrator, of whose answers a
            program makes sense, cannot.
        stand_in: what one that does not speak answers at the limit, so that another one gets to
            speak the last word: the name of who is next.
    """

    def __init__(self, agent: str, *, speaks: bool = True, stand_in: str | None = None) -> None:
        self.agent = agent
        self.speaks = speaks
        self.stand_in = stand_in
        self.trackers: tuple[AutoGenBudgetTracker, ...] = ()

    def add(self, tracker: AutoGenBudgetTracker) -> None:
        """Let a tracker pay as well: beside the others, or in place of those around it."""
        session = tracker.session_of(self.agent)
        if any(session in self._session(known).lineage for known in self.trackers):
            return
        others = tuple(t for t in self.trackers if self._session(t) not in session.lineage)
        inner = len(others) < len(self.trackers)
        self.trackers = (tracker, *others) if inner else (*others, tracker)

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

    @property
    def raises(self) -> bool:
        """The error of a call that does not fit goes to whoever runs the agent."""
        return self.trackers[0].on_exhausted == "raise"

    @contextmanager
    def paying(self) -> Iterator[None]:
        """Let all of them pay for every SDK call made inside, whoever makes it."""
        with ExitStack() as stack:
            for tracker in self.trackers:
                stack.enter_context(guarding(self._session(tracker)))
            yield

    def last_word(self, error: BudgetExhausted) -> str | None:
        """Return what is said in the model's place; None if it may speak a last word itself.

        Raises:
            BudgetExhausted: the error given, if there is to be no last word.
        """
        session, tell = self.session, self.trackers[0].on_exhausted
        if self.raises or not may_finalize(session, error):
            raise error
        if not self.speaks:
            if self.stand_in is None:
                raise error
            return self.stand_in
        if not callable(tell):
            return None
        text = tell(error)
        session.conclude()
        return text

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep the error that ends a call made inside, for whoever gets to see only its text."""
        try:
            yield
        except AgentBudgetError as error:
            for tracker in self.trackers:
                tracker.error = error
            raise

    def noted(self, error: Exception) -> AgentBudgetError | None:
        """Return the error that another one, as a framework made it, only quotes."""
        known = (tracker.error for tracker in self.trackers)
        return next((e for e in known if e is not None and str(e) in str(error)), None)

    def to_finalize(self, error: BudgetExhausted) -> BudgetSession:
        """Return the session whose reserve pays for the last word, or raise the error."""
        if self.raises or not self.speaks or not may_finalize(self.session, error):
            raise error
        return self.session

    def _session(self, tracker: AutoGenBudgetTracker) -> BudgetSession:
        return tracker.session_of(self.agent)
