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
    lacks = {"stream": "run_stream_sync leaves its event loop open"}

    @asynccontextmanager
    async def running(self, job):
        url = job.provider.openai_url
        async with AsyncOpenAI(base_url=url, api_key="test", max_retries=0) as client:
            model = OpenAIChatModel(job.model, provider=OpenAIProvider(openai_client=client))
            with PydanticAIBudget(**job.settings, on_exhausted=job.on_exhausted):
                yield Agent(model, name=job.agent, tools=[job.tool])

    async def arun(self, job):
        async with self.running(job) as agent:
            return (await agent.run(job.task)).output

    async def astream(self, job):
        async with self.running(job) as agent, agent.run_stream_events(job.task) as events:
            async for event in events:
                yield event

    def run(self, job):
        return asyncio.run(self.arun(job))
