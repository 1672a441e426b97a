"""The adapter keeps what all adapters promise."""

import asyncio
from contextlib import asynccontextmanager

from budget_pydantic_ai import PydanticAIBudget
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from budget_core.testing.conformance import AdapterConformance


class TestPydanticAI(AdapterConformance):
    lacks = {
        "stream": "run_stream_sync leaves its event loop open",
        "whole_streams": "a response that was read cannot be followed by another one: it raises",
    }

    def agent(self, job, client):
        model = OpenAIChatModel(job.model, provider=OpenAIProvider(openai_client=client))
        return Agent(model, name=job.agent, tools=[job.tool])

    def client(self, job):
        return AsyncOpenAI(base_url=job.provider.openai_url, api_key="test", max_retries=0)

    def budget(self, job):
        return PydanticAIBudget(**job.settings, on_exhausted=job.on_exhausted)

    def run(self, job):
        client = self.client(job)
        with self.budget(job), asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())  # run_sync takes this thread's
            try:
                return self.agent(job, client).run_sync(job.task).output
            finally:
                runner.run(client.close())

    @asynccontextmanager
    async def running(self, job):
        async with self.client(job) as client:
            with self.budget(job):
                yield self.agent(job, client)

    async def arun(self, job):
        async with self.running(job) as agent:
            return (await agent.run(job.task)).output

    async def astream(self, job):
        async with self.running(job) as agent, agent.run_stream_events(job.task) as events:
            async for event in events:
                yield event
