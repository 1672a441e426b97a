"""A team of AgentChat under one budget: it searches on, and ends with an answer.

    python examples/autogen_team.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient

from budget_autogen import AutoGenBudgetTracker
from budget_core.testing import Incoming, Provider, Reply, ToolCall


async def web_search(query: str) -> str:
    """Search the web."""
    return f"Twenty results about {query}."


def never_satisfied(request: Incoming) -> Reply:
    """Play a model that searches on for as long as it has tools, or finds fault."""
    if "The budget for this task is nearly spent" in request.last_text:
        return Reply("That is what we know so far: heat pumps pay for themselves in nine years.")
    if not request.tools:
        return Reply(f"Not convincing yet ({request.index}).")
    query = f"part {len(request.messages)}"
    return Reply(tool_calls=[ToolCall("web_search", {"query": query})])


@contextmanager
def endpoint() -> Iterator[dict[str, Any]]:
    if os.environ.get("OPENAI_API_KEY"):
        yield {}
    else:
        with Provider().respond(never_satisfied) as provider:
            yield {"base_url": provider.openai_url, "api_key": "embedded"}


async def main() -> None:
    with endpoint() as where:
        client = OpenAIChatCompletionClient(model="gpt-4o-2024-08-06", **where)
        researcher = AssistantAgent("researcher", client, tools=[web_search])
        critic = AssistantAgent("critic", client, system_message="You are never satisfied.")
        team = RoundRobinGroupChat([researcher, critic])

        budget = AutoGenBudgetTracker(
            "$0.05", finalization_reserve="$0.02", tool_costs={"web_search": 0.001}
        )
        budget.attach(team)
        result = await team.run(task="Do heat pumps pay for themselves?")
        await client.close()

    report = budget.get_report()
    print(result.messages[-1].to_text())
    print(f"spent ${report['total_spent']:.4f} of ${report['budget']:.2f}:", report["breakdown"])
    print("stopped by:", result.stop_reason)


if __name__ == "__main__":
    asyncio.run(main())
