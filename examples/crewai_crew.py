"""A crew of two agents that are never satisfied, and end with an output for every task.

    python examples/crewai_crew.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp())

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

from budget_core.testing import Incoming, Provider, Reply, ToolCall
from budget_crewai import CrewAIBudgetMiddleware

logging.disable(logging.WARNING)  # CrewAI tells how it counts tokens, at every call


@tool("web_search")
def web_search(query: str) -> str:
    """Search the web."""
    return f"Twenty results about {query}."


def never_satisfied(request: Incoming) -> Reply:
    """Play a model that searches on for as long as it has tools."""
    if not request.tools:
        return Reply("That is what I know so far: heat pumps pay for themselves in nine years.")
    query = f"part {len(request.messages)}"
    return Reply("Let me see.", tool_calls=[ToolCall("web_search", {"query": query})])


@contextmanager
def endpoint() -> Iterator[dict[str, Any]]:
    if os.environ.get("OPENAI_API_KEY"):
        yield {}
    else:
        with Provider().respond(never_satisfied) as provider:
            yield {"base_url": provider.openai_url, "api_key": "embedded"}
            print(f"the provider's bill: ${provider.bill:.4f}")


def crew_of_two(where: dict[str, Any]) -> Crew:
    llm = LLM(model="openai/gpt-4o", **where)
    agents = [
        Agent(role=role, goal="Know it all.", backstory="Curious.", llm=llm, tools=[web_search])
        for role in ("Researcher", "Writer")
    ]
    tasks = [
        Task(name=name, description=f"{name} heat pumps.", expected_output="A text.", agent=agent)
        for name, agent in zip(("Research", "Describe"), agents, strict=True)
    ]
    return Crew(agents=agents, tasks=tasks)


def main() -> None:
    budget = CrewAIBudgetMiddleware(
        "$0.10", agents={"Researcher": "$0.06"}, tool_costs={"web_search": 0.001},
        on_exhausted="finalize",
    )  # fmt: skip
    with endpoint() as where:
        result = budget.kickoff(crew_of_two(where))
    for output in result.tasks_output:
        print(f"{output.name}: {output.raw}")
    report = budget.get_report()
    print("by task:", report["breakdown"]["tasks"]["by_task"])
    print("within $0.10:", report["total_spent"] <= report["budget"], f"({report['total_spent']})")


if __name__ == "__main__":
    main()
