"""Two classic AutoGen agents with budgets of their own; the one that spends ends with an answer.

    python examples/autogen_classic.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from autogen import register_function

from budget_autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent
from budget_core.testing import Incoming, Provider, Reply, ToolCall


def web_search(query: str) -> str:
    """Search the web."""
    return f"Twenty results about {query}."


def never_satisfied(request: Incoming) -> Reply:
    """Play a model that searches on for as long as it has tools."""
    if not request.tools:
        return Reply("That is what I know so far: heat pumps pay for themselves in nine years.")
    call = ToolCall("web_search", {"query": f"part {request.index + 1}"})
    return Reply("Let me see.", tool_calls=[call], output_tokens=2_000)


@contextmanager
def endpoint() -> Iterator[None]:
    """Let the agents' default model be found."""
    if os.environ.get("OPENAI_API_KEY"):
        yield
    else:
        with Provider().respond(never_satisfied) as provider:
            os.environ |= {"OPENAI_API_KEY": "embedded", "OPENAI_BASE_URL": provider.openai_url}
            yield


def main() -> None:
    with endpoint():
        assistant = BudgetedAssistantAgent(
            name="assistant", budget="$0.01", finalization_reserve="$0.002"
        )
        user = BudgetedUserProxyAgent(
            name="user", budget="$0.10", tool_costs={"web_search": 0.001}, silent=True
        )
        register_function(
            web_search, caller=assistant, executor=user, description="Search the web."
        )
        chat = user.initiate_chat(
            assistant, message="Do heat pumps pay for themselves?", silent=True
        )
    print(chat.summary)
    for agent in (assistant, user):
        report = agent.get_report()
        print(f"{agent.name} spent ${report['total_spent']:.4f} of ${report['budget']:.2f}")
    print("ended by:", assistant.get_report()["terminated_by"])


if __name__ == "__main__":
    main()
