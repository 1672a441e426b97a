"""Agents that bring their own budget."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from autogen import AssistantAgent, ConversableAgent, UserProxyAgent

from budget_autogen.tracker import AutoGenBudgetTracker, OnExhausted
from budget_core import AgentBudget
from budget_core.lastword import WRAP_UP

if TYPE_CHECKING:
    from budget_core import BudgetSession
    from budget_core.limits import Limit
    from budget_core.money import Money

_OPTIONS: Final = frozenset(inspect.signature(AgentBudget).parameters) - {"max_spend"}
"""Keywords that describe a budget, and no agent."""


class _Budgeted(ConversableAgent):
    """Takes the arguments of a budget beside those of the agent."""

    def __init__(
        self,
        *args: Any,
        budget: Money | Limit | AgentBudget | None = None,
        session: BudgetSession | None = None,
        tracker: AutoGenBudgetTracker | None = None,
        on_exhausted: OnExhausted | None = None,
        wrap_up: str | None = None,
        tool_costs: Mapping[str, Money] | None = None,
        agents: Mapping[str, Money] | None = None,
        guard_sdks: bool = True,
        **kwargs: Any,
    ) -> None:
        options = {key: kwargs.pop(key) for key in _OPTIONS & kwargs.keys()}
        given = (budget, session, on_exhausted, wrap_up, tool_costs, agents)
        if tracker is not None and (options or any(one is not None for one in given)):
            raise TypeError("tracker= brings its own budget: pass nothing else that describes one")
        super().__init__(*args, **kwargs)
        self.tracker = tracker or AutoGenBudgetTracker(
            budget,
            session=session,
            on_exhausted=on_exhausted or "finalize",
            wrap_up=wrap_up or WRAP_UP,
            tool_costs=tool_costs,
            agents=agents,
            guard_sdks=guard_sdks,
            **options,
        )
        self.tracker.attach(self)

    @property
    def session(self) -> BudgetSession:
        """The session whose money it is."""
        return self.tracker.session

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`)."""
        return self.tracker.get_report()


class BudgetedConversableAgent(_Budgeted):
    """A `ConversableAgent` with a budget.

    >>> agent = BudgetedConversableAgent("critic", llm_config=llm_config, budget="$0.50")

    Args:
        *args: as for `ConversableAgent`.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        session: the session whose money it is, in place of `budget`: agents may share one.
        tracker: a tracker to attach to, in place of everything else that describes a budget.
        on_exhausted, wrap_up, tool_costs, agents, guard_sdks: see `AutoGenBudgetTracker`.
        **kwargs: everything else that `ConversableAgent` and `AgentBudget` take.

    Attributes:
        tracker: what it is attached to.
    """


class BudgetedAssistantAgent(_Budgeted, AssistantAgent):
    """An `AssistantAgent` with a budget.

    Without an `llm_config` it asks OpenAI's model of the environment's ``OPENAI_MODEL``, or
    "gpt-4o-mini". ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL`` are read from there, too.

    >>> assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")

    Args:
        name: its name.
        *args, **kwargs: as for `AssistantAgent`, and as for `BudgetedConversableAgent`.
    """

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        kwargs |= _named(AssistantAgent, args)
        if kwargs.get("llm_config") is None and not self.DEFAULT_CONFIG:
            kwargs["llm_config"] = {"model": os.environ.get("OPENAI_MODEL") or "gpt-4o-mini"}
        super().__init__(name, **kwargs)


class BudgetedUserProxyAgent(_Budgeted, UserProxyAgent):
    """A `UserProxyAgent` with a budget, which runs tools and asks nobody.

    By default no human is asked, no code is run, and the chat ends with the first message that
    leaves nothing to be run: a question gets one answer, after as many tools as that takes.

    >>> user = BudgetedUserProxyAgent(name="user", budget="$5.00")
    >>> user.initiate_chat(assistant, message="What is 2 + 2?")

    Args:
        name: its name.
        *args, **kwargs: as for `UserProxyAgent`, and as for `BudgetedConversableAgent`.
    """

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        kwargs |= _named(UserProxyAgent, args)
        kwargs.setdefault("human_input_mode", "NEVER")
        runs_code = kwargs.setdefault("code_execution_config", False) is not False
        if kwargs.get("is_termination_msg") is None:
            kwargs["is_termination_msg"] = _Done(runs_code=runs_code)
        super().__init__(name, **kwargs)


def _named(kind: type[ConversableAgent], args: tuple[Any, ...]) -> dict[str, Any]:
    """Name the arguments that were given by their position behind an agent's name."""
    _self, _name, *names = inspect.signature(kind.__init__).parameters
    return dict(zip(names, args, strict=False))


class _Done:
    """Tells of a message whether it leaves nothing to be run."""

    def __init__(self, *, runs_code: bool) -> None:
        self._runs_code = runs_code

    def __call__(self, message: Mapping[str, Any]) -> bool:
        if message.get("tool_calls") or message.get("function_call"):
            return False
        return not (self._runs_code and "```" in str(message.get("content")))
