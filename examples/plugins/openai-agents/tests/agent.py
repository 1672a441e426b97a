"""A program that knows nothing of budgets."""

import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


set_tracing_disabled(disabled=True)
client = AsyncOpenAI(base_url=sys.argv[1], api_key="test")
agent = Agent("worker", model=OpenAIChatCompletionsModel("gpt-4o", client), tools=[search])
print(Runner.run_sync(agent, "Why is the sea salt?").final_output)
