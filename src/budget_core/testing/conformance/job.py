"""What an adapter is asked to do: run one agent, under one session, against one provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from budget_core.testing.conformance.tools import search

if TYPE_CHECKING:
    from budget_core.money.usd import Money
    from budget_core.session.session import BudgetSession
    from budget_core.testing.provider import Provider

AGENT: Final = "worker"
MOST: Final = 1_000
"""Tokens of the longest answer."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Run an agent of this name, with this model and this tool, on this task; it may take 20 steps.

    Make whatever clients it takes anew for each job, without retries of their own, and close them.

    Attributes:
        provider: speaks OpenAI, Anthropic and Google: ``provider.openai_url`` and so on.
        session: whose money it is. It stays open.
        model: has a price of its own, and writes `max_tokens` at most.
        tool: called "search", takes a ``query: str``, returns a text, and may raise.
        on_exhausted: "finalize" asks for a last word from the session's reserve, "raise" lets the
            `BudgetExhausted` out.
        agents: limits of agents, by name, in dollars.
        tool_costs: dollars a call, by tool.
        agent: the agent's name.
        task: what it is told.
        max_tokens: for APIs that want a cap with each request.
    """

    provider: Provider
    session: BudgetSession
    model: str
    tool: Callable[[str], str] = search
    on_exhausted: Literal["raise", "finalize"] = "raise"
    agents: Mapping[str, Money] = field(default_factory=dict)
    tool_costs: Mapping[str, Money] = field(default_factory=dict)
    agent: str = AGENT
    task: str = "Find out why the sea is salt."
    max_tokens: int = MOST

    @property
    def settings(self) -> dict[str, Any]:
        """What of this an `Integration` takes: session, agents, tool_costs."""
        return {
            "session": self.session,
            "agents": self.agents,
            "tool_costs": self.tool_costs,
        }
