"""`AutoGenBudgetTracker`: a budget for agents, teams and group chats that exist already."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self

from budget_core.frameworks import AgentIntegration, LastWord

if TYPE_CHECKING:
    from budget_core import AgentBudget, BudgetExhausted, BudgetSession
    from budget_core.money.limits import Limit
    from budget_core.money.usd import Money

_HOMES: Final = {
    "autogen": "classic",
    "autogen_agentchat": "agentchat",
    "autogen_core": "agentchat",
    "autogen_ext": "agentchat",
}


class AutoGenBudgetTracker(AgentIntegration):
    """One budget for any number of agents, teams and group chats, of either AutoGen.

    >>> tracker = AutoGenBudgetTracker("$5.00").attach(team)
    >>> await team.run(task="…")
    >>> tracker.get_report()["total_spent"]

    An attached agent is the same object as before, of a class derived from its own; `detach` gives
    it back as it was. Used with ``with``, the tracker also pays for every SDK call made inside,
    by any agent.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        on_exhausted: "finalize" makes one last call from the `finalization_reserve`, without
            tools and with `wrap_up`; if even that does not fit, the error propagates. "raise" lets
            it propagate at once. A callable gets the error and returns the agent's last message.
        wrap_up: what the model is told at its last call.
        tool_costs: dollars a call, by tool name. Other tools cost nothing, and are counted.
        agents: a limit for all calls of an agent, by its name.
        session: the session whose money it is, in place of `budget`; it is not closed at exit.
        name: the session's id; on a durable ledger the same name goes on where it left off.
        guard_sdks: guard the provider SDKs beneath, so that output is capped and usage exact.
        **options: everything else that `AgentBudget` takes.
    """

    calls_back = True

    def __init__(self, budget: Money | Limit | AgentBudget | None = None, **options: Any) -> None:
        super().__init__(budget, **options)
        self._attached: list[Any] = []

    def attach(self, *targets: Any) -> Self:
        """Pay for these agents, teams, group chats and managers, and for all that are in them.

        Attaching again changes nothing, but takes in who has joined since.

        Raises:
            TypeError: one is nothing of AutoGen's.
        """
        for target in targets:
            _home(target).attach(self, target)
            if not any(known is target for known in self._attached):
                self._attached.append(target)
        return self

    def detach(self, *targets: Any) -> Self:
        """Undo `attach` for these, or for all if none are named."""
        for target in targets or tuple(self._attached):
            _home(target).detach(self, target)
            self._attached = [known for known in self._attached if known is not target]
        return self

    def last_word(self, error: BudgetExhausted, session: BudgetSession) -> LastWord:
        """Return how an agent that was refused may end.

        Raises:
            BudgetExhausted: the error given, if there is to be no last word.
            TypeError: `on_exhausted` returned no text.
        """
        word = super().last_word(error, session)
        if callable(self.on_exhausted) and not isinstance(word.answer, str):
            raise TypeError(
                f"on_exhausted returns the text of the final message; got {word.answer!r}"
            )
        return word

    def has_last_word(self, session: BudgetSession) -> bool:
        """Return whether an agent that `session` refuses may still say something."""
        if callable(self.on_exhausted):
            return session.balance().state == "open"
        return self.on_exhausted == "finalize" and session.has_last_word

    def child_tracker(
        self, budget: Money | None = None, *targets: Any, **options: Any
    ) -> AutoGenBudgetTracker:
        """Return a tracker with a limit within this one's, attached to `targets`.

        Args:
            budget: its limit in dollars, cut to what this tracker has left.
            *targets: what it pays for from now on; this tracker's limit holds for them as before.
            **options: settings of the tracker, or of its session, that differ from this one's.
        """
        own = {key: options.pop(key) for key in tuple(options) if key in _OWN}
        settings: dict[str, Any] = {
            "on_exhausted": self.on_exhausted,
            "wrap_up": self.wrap_up,
            "tool_costs": dict(self.tool_costs),
            "guard_sdks": self.guard_sdks,
            **own,
        }
        child = self.session.child_session(budget, cut=True, **options)
        return AutoGenBudgetTracker(session=child, **settings).attach(*targets)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: a copy of an agent spends the same money."""
        return self


_OWN: Final = frozenset({"on_exhausted", "wrap_up", "tool_costs", "agents", "guard_sdks"})


def _home(target: Any) -> Any:
    for kind in type(target).__mro__:
        home = _HOMES.get(kind.__module__.partition(".")[0])
        if home is not None:
            return import_module(f"budget_autogen.{home}.attaching")
    raise TypeError(
        f"A tracker attaches to agents, teams, group chats and managers of AutoGen; got {target!r}."
    )
