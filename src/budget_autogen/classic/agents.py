"""Agents that bring their own budget."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autogen import AssistantAgent, ConversableAgent, UserProxyAgent

from budget_autogen.classic.guarded_agent import GuardedAgent
from budget_autogen.classic.paying import ChatPayers
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core.frameworks import given_or_new, split_options

if TYPE_CHECKING:
    from budget_core import BudgetSession


class _Budgeted(GuardedAgent):
    """Takes the arguments of a budget beside those of the agent."""

    def __init__(
        self,
        name: str,
        *args: Any,
        budget: Any = None,
        tracker: AutoGenBudgetTracker | None = None,
        **options: Any,
    ) -> None:
        described, options = split_options(AutoGenBudgetTracker, options, type(self))
        tracker = given_or_new(AutoGenBudgetTracker, tracker, "tracker", budget, described)
        self._budget_payers = ChatPayers(name)
        super().__init__(name, *args, **options)
        self._budget_mind()
        self.tracker = tracker.attach(self)

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
        **options: what `ConversableAgent` takes, and what `AutoGenBudgetTracker` takes; `tracker=`
            shares a tracker, `session=` a session.

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
    """A `UserProxyAgent` with a budget, which runs tools and asks no human.

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
