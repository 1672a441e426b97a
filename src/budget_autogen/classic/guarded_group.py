"""What an attached group chat does differently: the choice of a speaker is paid for, and ends."""

from __future__ import annotations

from typing import Any

from autogen import GroupChat
from autogen.exception_utils import NoEligibleSpeakerError

from budget_autogen.classic.attaching import guards, share
from budget_autogen.classic.last_word import is_over
from budget_autogen.classic.paying import ChatPayers, payers_of
from budget_core import BudgetExhausted
from budget_core.runtime.background import asked


@guards(GroupChat)
class GuardedGroupChat(GroupChat):
    """Comes before a group chat's own class once it is attached."""

    _budget_payers: ChatPayers

    def select_speaker(self, last_speaker: Any, selector: Any) -> Any:
        """Choose who speaks next; after the last word no agent does."""
        self._end_if_over()
        return super().select_speaker(last_speaker, selector)

    async def a_select_speaker(self, last_speaker: Any, selector: Any) -> Any:
        """Async version of `select_speaker`."""
        await asked(self._end_if_over, blocks=self._budget_payers.blocks)
        return await super().a_select_speaker(last_speaker, selector)

    def _auto_select_speaker(
        self, last_speaker: Any, selector: Any, messages: Any, agents: Any
    ) -> Any:
        try:
            return super()._auto_select_speaker(last_speaker, selector, messages, agents)
        except BudgetExhausted as error:
            return self._unchosen(last_speaker, agents, error)

    async def a_auto_select_speaker(
        self, last_speaker: Any, selector: Any, messages: Any, agents: Any
    ) -> Any:
        """Let a model choose who speaks next; the next in turn if that is too dear."""
        try:
            return await super().a_auto_select_speaker(last_speaker, selector, messages, agents)
        except BudgetExhausted as error:
            return self._unchosen(last_speaker, agents, error)

    def _create_internal_agents(self, *args: Any, **kwargs: Any) -> Any:
        checking, choosing = super()._create_internal_agents(*args, **kwargs)
        selector = kwargs.get("selector") or args[-1]
        payers = payers_of(selector) or self._budget_payers
        share(payers.trackers, choosing, selector.name, speaks=False)
        return checking, choosing

    def _unchosen(self, last_speaker: Any, agents: Any, error: BudgetExhausted) -> Any:
        """Return who is next in the list, and has a model to say the last word with."""
        trackers = self._budget_payers.trackers
        if not trackers or trackers[0].on_exhausted == "raise":
            raise error
        able = agents or self.agents
        if not (self.messages and self.messages[-1].get("tool_calls")):
            able = [agent for agent in able if getattr(agent, "llm_config", False)] or able
        return self.next_agent(last_speaker, able)

    def _end_if_over(self) -> None:
        if is_over(self._budget_payers):
            raise NoEligibleSpeakerError("The budget is spent, and the last word was said.")
