"""LangChain's adapters keep what all adapters promise."""

import contextlib

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from budget_core.testing.conformance import AdapterConformance
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

pytestmark = pytest.mark.usefixtures("ledger_url")


@pytest.fixture
def collected():
    """Do without the garbage collection after each test: these close their clients."""


class Agents:
    def agent(self, job, callback, **clients):
        model = ChatOpenAI(
            model=job.model,
            base_url=job.provider.openai_url,
            api_key="test",
            max_retries=0,
            stream_usage=True,
            **clients,
        )
        middleware = self.middleware(job, callback)
        return create_agent(model, [tool(job.tool)], middleware=middleware, name=job.agent)

    @contextlib.contextmanager
    def running(self, job):
        callback = LangChainBudgetCallback(**job.settings)
        with httpx.Client() as client:
            yield self.agent(job, callback, http_client=client), callback

    @contextlib.asynccontextmanager
    async def running_async(self, job):
        callback = LangChainBudgetCallback(**job.settings)
        async with httpx.AsyncClient() as client:
            yield self.agent(job, callback, http_async_client=client), callback

    def run(self, job):
        with self.running(job) as (agent, callback):
            return agent.invoke(asked(job), {"callbacks": [callback]})["messages"][-1].text

    async def arun(self, job):
        async with self.running_async(job) as (agent, callback):
            state = await agent.ainvoke(asked(job), {"callbacks": [callback]})
            return state["messages"][-1].text

    def stream(self, job):
        with self.running(job) as (agent, callback):
            config = {"callbacks": [callback]}
            yield from agent.stream(asked(job), config, stream_mode="messages")

    async def astream(self, job):
        async with self.running_async(job) as (agent, callback):
            config = {"callbacks": [callback]}
            parts = agent.astream(asked(job), config, stream_mode="messages")
            async with contextlib.aclosing(parts):
                async for part in parts:
                    yield part


def asked(job):
    return {"messages": [HumanMessage(job.task)]}


class TestCallback(Agents, AdapterConformance):
    lacks = {"last_word": "a callback only watches; BudgetMiddleware finishes an agent's answer"}

    def middleware(self, job, callback):
        return []


class TestMiddleware(Agents, AdapterConformance):
    def middleware(self, job, callback):
        return [BudgetMiddleware(callback=callback, on_exhausted=job.on_exhausted)]
