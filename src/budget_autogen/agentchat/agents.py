"""Agents of AgentChat with a budget of their own, and what makes one of an agent that exists."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import aclosing
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

from autogen_agentchat.agents import AssistantAgent, BaseChatAgent, UserProxyAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_core import Component
from pydantic import BaseModel

from budget_autogen.agentchat.chat import TwoAgentChat
from budget_autogen.agentchat.client import BudgetedChatCompletionClient
from budget_autogen.agentchat.models import default_client
from budget_autogen.agentchat.tools import Turn, in_team, tool_executor
from budget_autogen.paying import derived
from budget_autogen.saved import SavedTracker, load_tracker, save_tracker
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import BudgetExhausted
from budget_core.frameworks import SPEECHLESS, given_or_new, split_options, stepped
from budget_core.runtime.background import asked

if TYPE_CHECKING:
    from autogen_agentchat.messages import BaseAgentEvent
    from autogen_core import CancellationToken
    from autogen_core.models import ChatCompletionClient

    from budget_autogen.paying import Payers
    from budget_core import BudgetSession


class BudgetedAgent(BaseChatAgent):
    """What an agent does differently while its calls are paid for. See `budgeted`."""

    _budget_payers: Payers

    async def on_messages_stream(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
        """Do what the agent does, with its payers paying for every SDK call that it makes.

        Where an agent within it, or beside it in a team, has had the last word, it adds
        nothing of its own.
        """
        payers = self._budget_payers
        paid_client(self, payers)
        stream = super().on_messages_stream(messages, cancellation_token)
        turn = Turn(payers)
        within: list[BaseAgentEvent | BaseChatMessage] = []
        try:
            async with aclosing(stepped(stream, turn.running)) as items:
                async for item in items:
                    turn.check()
                    if not isinstance(item, Response):
                        within.append(item)
                    yield item
        except BudgetExhausted as error:
            said = [message for message in within[-1:] if isinstance(message, BaseChatMessage)]
            silent = await asked(partial(gives_way, payers, error), blocks=payers.blocks)
            if not (silent and (said or in_team())):
                raise
            text = said[-1].to_model_text() if said else SPEECHLESS
            answer = TextMessage(content=text, source=self.name)
            yield Response(chat_message=answer, inner_messages=within)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        """Do what the agent does, with its payers paying for every SDK call that it makes."""
        with Turn(self._budget_payers).running():
            return await super().on_messages(messages, cancellation_token)  # type: ignore[safe-super]


def gives_way(payers: Payers, error: BudgetExhausted) -> bool:
    """Return whether an agent is refused because another one has the last word, or had it."""
    if payers.raises or not payers.trackers:
        return False
    return any(
        account.last_word_taken
        for tracker in payers.trackers
        for account in payers.session_for(tracker).lineage
        if account.owns(error)
    )


class _Own(BudgetedAgent):
    """What an agent with a budget of its own shows of it."""

    @property
    def tracker(self) -> AutoGenBudgetTracker:
        return self._budget_payers.trackers[0]

    @property
    def session(self) -> BudgetSession:
        return self._budget_payers.session

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`)."""
        return self.tracker.get_report()


class BudgetedAssistantAgent(_Own, AssistantAgent):
    """An `AssistantAgent` with a budget.

    Args:
        name: of the agent.
        model_client: makes its calls; one of OpenAI, with the model that OPENAI_MODEL names, else
            gpt-4o-mini, if None.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        **options: what `AssistantAgent` takes, and what `AutoGenBudgetTracker` takes; `tracker=`
            shares a tracker, `session=` a session.
    """

    component_provider_override = "budget_autogen.agentchat.BudgetedAssistantAgent"

    def __init__(
        self,
        name: str,
        model_client: ChatCompletionClient | None = None,
        budget: Any = None,
        *,
        tracker: AutoGenBudgetTracker | None = None,
        **options: Any,
    ) -> None:
        described, options = split_options(AutoGenBudgetTracker, options, type(self))
        client = model_client or default_client()
        told = tracker is not None or budget is not None or described
        if isinstance(client, BudgetedChatCompletionClient) and not told:
            trackers = client.payers.attached
        else:
            trackers = (given_or_new(AutoGenBudgetTracker, tracker, "tracker", budget, described),)
        super().__init__(name, client, **options)
        for each in trackers:
            each.attach(self)

    _execute_tool_call = staticmethod(tool_executor(AssistantAgent._execute_tool_call))  # noqa: SLF001


class BudgetedUserProxyConfig(BaseModel):
    """A user proxy as a component, and who pays. An `input_func` is not written down."""

    name: str
    description: str
    trackers: list[SavedTracker]


class BudgetedUserProxyAgent(
    TwoAgentChat, _Own, UserProxyAgent, Component[BudgetedUserProxyConfig]
):
    """A `UserProxyAgent` with a budget, which asks no human unless given an `input_func`.

    Args:
        name: of the agent.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        **options: what `UserProxyAgent` takes, and what `AutoGenBudgetTracker` takes; `tracker=`
            shares a tracker, `session=` a session.
    """

    component_type = "agent"
    component_config_schema = BudgetedUserProxyConfig  # type: ignore[assignment]
    component_provider_override = "budget_autogen.agentchat.BudgetedUserProxyAgent"

    def __init__(
        self,
        name: str,
        budget: Any = None,
        *,
        tracker: AutoGenBudgetTracker | None = None,
        **options: Any,
    ) -> None:
        described, options = split_options(AutoGenBudgetTracker, options, type(self))
        tracker = given_or_new(AutoGenBudgetTracker, tracker, "tracker", budget, described)
        super().__init__(name, **{"input_func": _no_human, **options})
        tracker.attach(self)

    def _to_config(self) -> BudgetedUserProxyConfig:  # type: ignore[override]
        return BudgetedUserProxyConfig(
            name=self.name,
            description=self.description,
            trackers=[save_tracker(tracker) for tracker in self._budget_payers.attached],
        )

    @classmethod
    def _from_config(cls, config: BudgetedUserProxyConfig) -> Self:  # type: ignore[override]
        first, *others = [load_tracker(saved) for saved in config.trackers]
        agent = cls(config.name, description=config.description, tracker=first)
        for tracker in others:
            tracker.attach(agent)
        return agent


@cache
def budgeted(kind: Hashable) -> Any:
    """Return the class that an agent of `kind` has while it is paid for."""
    assert isinstance(kind, type)  # noqa: S101
    if issubclass(kind, BudgetedAgent):
        return kind
    if kind is AssistantAgent:
        return BudgetedAssistantAgent
    own = {}
    if execute := getattr(kind, "_execute_tool_call", None):
        own["_execute_tool_call"] = staticmethod(tool_executor(execute))
    return derived(kind, BudgetedAgent, **own)


def paid_client(owner: Any, payers: Payers) -> None:
    """Let `payers` pay for the model client that an agent or a team has by now."""
    client = getattr(owner, "_model_client", None)
    if client is None or not payers.trackers:
        return
    if isinstance(client, BudgetedChatCompletionClient):
        if client.payers is payers:
            return
        brought = tuple(known for known in client.payers.attached if known not in payers.attached)
        owner._budget_brought = brought  # noqa: SLF001
        for known in brought:
            payers.add(known)
    owner._model_client = BudgetedChatCompletionClient(client, payers=payers)  # noqa: SLF001
    owner._unpaid_client = client  # noqa: SLF001


def _no_human(_prompt: str) -> str:
    return ""
