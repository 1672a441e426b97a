"""A program that knows nothing of budgets."""

import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=sys.argv[1], api_key="test"))
agent = Agent(model, name="worker")


@agent.tool_plain
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


print(agent.run_sync("Why is the sea salt?").output)
