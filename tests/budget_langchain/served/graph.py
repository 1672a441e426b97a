"""What `langgraph dev` serves: an agent with a budget for each thread, and one that blocks."""

import os
import time
from contextlib import asynccontextmanager

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from budget_langchain import BudgetMiddleware, LangChainBudgetCallback


@tool
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@asynccontextmanager
async def agent(config):
    """Open the thread's budget, which goes on where it left off, for one run."""
    thread = config["configurable"].get("thread_id", "none")
    budget = LangChainBudgetCallback(
        "$0.02", name=thread, ledger=os.environ["LEDGER"], finalization_reserve="$0.005"
    )
    async with budget:
        model = ChatOpenAI(model="gpt-4o", max_retries=0)
        yield create_agent(model, [search], middleware=[BudgetMiddleware(budget)])


@asynccontextmanager
async def blocking(_config):
    """Do what the server is to forbid: wait in the event loop."""
    time.sleep(0.01)  # noqa: ASYNC251
    yield None
