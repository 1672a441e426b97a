"""The adapter keeps what all adapters promise."""

import asyncio
from contextlib import asynccontextmanager

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, function_tool
from budget_openai_agents import OpenAIAgentsBudget
from openai import AsyncOpenAI

from budget_core.testing.conformance import AdapterConformance


class TestOpenAIAgents(AdapterConformance):
    lacks = {"stream": "the SDK streams asynchronously only"}

    def agent(self, job, client):
        tool = function_tool(job.tool, name_override="search")
        return Agent(job.agent, model=OpenAIResponsesModel(job.model, client), tools=[tool])

    def client(self, job):
        return AsyncOpenAI(base_url=job.provider.openai_url, api_key="test", max_retries=0)

    def budget(self, job):
        return OpenAIAgentsBudget(**job.settings, on_exhausted=job.on_exhausted)

    def run(self, job):
        client = self.client(job)
        with self.budget(job), asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())  # run_sync takes this thread's
            agent = self.agent(job, client)
            try:
                result = Runner.run_sync(agent, job.task, max_turns=20, run_config=QUIET)
                return result.final_output
            finally:
                runner.run(client.close())

    @asynccontextmanager
    async def running(self, job):
        async with self.client(job) as client:
            with self.budget(job):
                yield self.agent(job, client)

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


QUIET = RunConfig(tracing_disabled=True)
