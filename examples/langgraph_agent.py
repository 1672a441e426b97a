"""A LangGraph agent that cannot overspend, and finishes its answer when the money runs low.

    python examples/langgraph_agent.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from budget_core.testing import Incoming, Provider, Reply, ToolCall
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback


def web_search(query: str) -> str:
    """Search the web."""
    return f"Twenty results about {query}."


def never_satisfied(request: Incoming) -> Reply:
    """Play a model that searches on for as long as it has tools."""
    if not request.tools:
        return Reply("That is what I know so far: heat pumps pay for themselves in nine years.")
    turn = len(request.messages)
    return Reply("Let me see.", tool_calls=[ToolCall("web_search", {"query": f"part {turn}"})])


@contextmanager
def endpoint() -> Iterator[dict[str, Any]]:
    if os.environ.get("OPENAI_API_KEY"):
        yield {}
    else:
        with Provider().respond(never_satisfied) as provider:
            yield {"base_url": provider.openai_url, "api_key": "embedded"}


def main() -> None:
    with (
        endpoint() as where,
        LangChainBudgetCallback(
            "$0.05", finalization_reserve="$0.02", tool_costs={"web_search": 0.001}
        ) as budget,
    ):
        agent = create_agent(
            ChatOpenAI(model="gpt-4o", **where),
            tools=[web_search],
            middleware=[BudgetMiddleware(callback=budget, on_exhausted="finalize")],
        )
        result = agent.invoke({"messages": [("user", "Do heat pumps pay for themselves?")]})
    report = budget.get_report()
    print(result["messages"][-1].text)
    print(f"spent ${report['total_spent']:.4f} of ${report['budget']:.2f}:", report["breakdown"])
    print("ended by:", report["terminated_by"])


if __name__ == "__main__":
    main()
