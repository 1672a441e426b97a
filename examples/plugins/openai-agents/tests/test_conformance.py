"""The adapter keeps what all adapters promise."""

import asyncio
from contextlib import asynccontextmanager

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, function_tool
from budget_openai_agents import OpenAIAgentsBudget
from openai import AsyncOpenAI

from budget_core.testing.conformance import AdapterConformance


class TestOpenAIAgents(AdapterConformance):
    lacks = {"stream": "the SDK streams asynchronously only"}

    @asynccontextmanager
    async def running(self, job):
        url = job.provider.openai_url
        async with AsyncOpenAI(base_url=url, api_key="test", max_retries=0) as client:
            model = OpenAIResponsesModel(job.model, client)
            tool = function_tool(job.tool, name_override="search")
            with OpenAIAgentsBudget(**job.settings, on_exhausted=job.on_exhausted):
                yield Agent(job.agent, model=model, tools=[tool])

    async def arun(self, job):
        async with self.running(job) as agent:
            result = await Runner.run(agent, job.task, max_turns=20, run_config=QUIET)
            return result.final_output

    async def astream(self, job):
        async with self.running(job) as agent:
            streamed = Runner.run_streamed(agent, job.task, max_turns=20, run_config=QUIET)
            try:
                async for event in streamed.stream_events():
                    yield event
            finally:
                streamed.cancel()

    def run(self, job):
        return asyncio.run(self.arun(job))


QUIET = RunConfig(tracing_disabled=True)
