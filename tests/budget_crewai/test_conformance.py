"""A crew under the middleware keeps what all adapters promise."""

import contextlib

import crewai
import pytest
from crewai.tools import tool

from budget_core.testing.conformance import AdapterConformance
from budget_crewai import CrewAIBudgetMiddleware

pytestmark = pytest.mark.usefixtures("ledger_url")


class TestCrewAI(AdapterConformance):
    def crew(self, job, **options):
        llm = crewai.LLM(
            model=f"openai/{job.model}",
            api_key="test",
            base_url=job.provider.openai_url,
            max_retries=0,
            stream=options.get("stream", False),
        )
        agent = crewai.Agent(
            role=job.agent,
            goal="find out",
            backstory="curious",
            llm=llm,
            tools=[tool("search")(job.tool)],
            max_iter=20,
            max_retry_limit=0,
        )
        task = crewai.Task(description=job.task, expected_output="a text", agent=agent)
        return crewai.Crew(agents=[agent], tasks=[task], **options)

    def budget(self, job):
        return CrewAIBudgetMiddleware(**job.settings, on_exhausted=job.on_exhausted)

    def run(self, job):
        return self.budget(job).kickoff(self.crew(job)).raw

    async def arun(self, job):
        return (await self.budget(job).akickoff(self.crew(job))).raw

    def stream(self, job):
        with contextlib.closing(self.budget(job).kickoff(self.crew(job, stream=True))) as parts:
            yield from parts  # closing waits for the crew, which goes on in a thread

    async def astream(self, job):
        parts = await self.budget(job).akickoff(self.crew(job, stream=True))
        async with contextlib.aclosing(parts):
            async for part in parts:
                yield part
