"""Who pays for an agent's calls, and what happens when the money is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from budget_core import AgentBudgetError, BudgetExhausted, BudgetSession, CallRequest
from budget_core.calls import context
from budget_core.frameworks import LastWord, Stack, guarding, may_finalize, tool_fingerprint
from budget_core.runtime.background import told

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker

Trackers: TypeAlias = "tuple[AutoGenBudgetTracker, ...]"

PAYERS: Final = "_budget_payers"
"""The attribute in which an attached object keeps its `Payers`."""


def payers_of(thing: object) -> Payers | None:
    found = getattr(thing, PAYERS, None)
    return found if isinstance(found, Payers) else None


def derived(kind: type, guard: type, **attributes: Any) -> type:
    """Return a class that passes for `kind`, of which it is derived, with `guard` before it."""
    about = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(kind)(kind.__name__, (guard, kind), {**about, **attributes})


class Payers:
    """The trackers that an agent is attached to.

    Args:
        agent: its name, for the report and for limits of its own.
        speaks: it can finish with a last word; a selector or an orchestrator, of whose answers a
            program makes sense, cannot.
        stand_in: what one that does not speak answers at the limit, so that another one gets to
            speak the last word: the name of who is next.

    Attributes:
        agent_id: what tells it from other agents of that name.
    """

    def __init__(self, agent: str, *, speaks: bool = True, stand_in: str | None = None) -> None:
        self.agent = agent
        self.speaks = speaks
        self.stand_in = stand_in
        self.attached: Trackers = ()
        self.agent_id: Final = object()

    def add(self, tracker: AutoGenBudgetTracker) -> None:
        if tracker not in self.attached:
            self.attached = (*self.attached, tracker)

    def remove(self, tracker: AutoGenBudgetTracker) -> None:
        self.attached = tuple(known for known in self.attached if known is not tracker)

    @property
    def trackers(self) -> Trackers:
        """Those that pay: the attached ones, but for those around others, who pay anyway."""
        return self._innermost(self.attached)

    @property
    def session(self) -> BudgetSession:
        return self.session_for(self.trackers[0])

    @property
    def joining(self) -> tuple[BudgetSession, ...]:
        """The others whose money it is: of other trackers, and of agents whose tool this one is."""
        return self.joining_for(self.session)

    def joining_for(self, mine: BudgetSession) -> tuple[BudgetSession, ...]:
        others = (self.session_for(tracker) for tracker in self.trackers)
        return tuple(s for s in (*others, *context.tool_sessions()) if s is not mine)

    def session_for(self, tracker: AutoGenBudgetTracker) -> BudgetSession:
        return tracker.session_of(self.agent)

    def tool_cost(self, tool: str) -> int:
        """Return the nanos that a call of a tool costs: the highest price that a tracker knows."""
        return max(tracker.tool_cost(tool) for tracker in self.attached or self.trackers)

    def tool_request(self, tool: str, arguments: Any) -> CallRequest:
        """Return what to open before a tool is called."""
        return CallRequest(
            kind="tool",
            name=tool,
            cost=self.tool_cost(tool),
            fingerprint=tool_fingerprint(tool, arguments),
            agent=self.agent,
            agent_run=self.agent_id,
        )

    def guard(self) -> None:
        for tracker in self.trackers:
            tracker.guard()

    @contextmanager
    def paying(self) -> Iterator[None]:
        with ExitStack() as stack:
            for tracker in self.trackers:
                stack.enter_context(guarding(self.session_for(tracker)))
            yield

    @property
    def blocks(self) -> bool:
        """Their ledgers must not be asked in an event loop."""
        return any(self.session_for(tracker).ledger.blocks for tracker in self.trackers)

    # -- at the limit ------------------------------------------------------------------------

    @property
    def raises(self) -> bool:
        return any(tracker.on_exhausted == "raise" for tracker in self.trackers[:1])

    def refused_by(self, error: BudgetExhausted) -> tuple[AutoGenBudgetTracker, BudgetSession]:
        """Return the tracker whose limit it was, with its session; the first one if in doubt.

        Raises:
            BudgetExhausted: the error given, if it has no payer any more.
        """
        if not self.trackers:
            raise error
        sessions = [(tracker, self.session_for(tracker)) for tracker in self.trackers]
        for own in (True, False):
            for tracker, session in sessions:
                if any(one.owns(error) for one in ((session,) if own else session.lineage)):
                    return tracker, session
        return sessions[0]

    def last_word(self, error: BudgetExhausted) -> LastWord:
        """Return how the agent may end.

        Raises:
            BudgetExhausted: the error given, if there is to be no last word.
        """
        tracker, session = self.refused_by(error)
        if self.speaks:
            word = tracker.last_word(error, session)
            if word.answer is not None:
                told(session.conclude, blocks=session.ledger.blocks)
            return word
        if (
            self.stand_in is None
            or tracker.on_exhausted == "raise"
            or not may_finalize(session, error)
        ):
            raise error
        return LastWord(session, answer=self.stand_in)

    # -- errors that frameworks only quote ---------------------------------------------------

    @staticmethod
    def note(error: AgentBudgetError) -> None:
        for noted in _noting.get():
            noted.errors.append(error)

    def _innermost(self, trackers: Trackers) -> Trackers:
        if len(trackers) < 2:  # noqa: PLR2004
            return trackers
        around = {s for t in trackers for s in self.session_for(t).lineage[1:]}
        kept: dict[BudgetSession, AutoGenBudgetTracker] = {}
        for tracker in trackers:
            if (session := self.session_for(tracker)) not in around:
                kept.setdefault(session, tracker)
        return tuple(kept.values())


class Noted:
    """The errors that end calls in a run, of which a framework may only quote the text."""

    def __init__(self) -> None:
        self.errors: list[AgentBudgetError] = []

    def noting(self) -> AbstractContextManager[None]:
        return _noting.attached(self)

    def quoted(self, error: Exception) -> AgentBudgetError | None:
        """Return the error that another one, as a framework made it, only quotes."""
        return next((e for e in reversed(self.errors) if str(e) in str(error)), None)


_noting: Final[Stack[Noted]] = Stack("budget_autogen_noting")
