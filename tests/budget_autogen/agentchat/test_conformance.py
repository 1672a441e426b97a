"""An agent of AgentChat with a tracker keeps what all adapters promise."""

import contextlib

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient

from budget_autogen import AutoGenBudgetTracker
from budget_core.testing.conformance import AdapterConformance

MODEL = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "unknown",
}

pytestmark = pytest.mark.usefixtures("ledger_url")


class TestAgentChat(AdapterConformance):
    lacks = dict.fromkeys(["run", "stream"], "AgentChat is asynchronous")

    @contextlib.asynccontextmanager
    async def running(self, job, **options):
        client = OpenAIChatCompletionClient(
            model=job.model,
            base_url=job.provider.openai_url,
            api_key="test",
            max_retries=0,
            model_info=MODEL,
        )
        agent = AssistantAgent(
            job.agent, client, tools=[job.tool], max_tool_iterations=20, **options
        )
        AutoGenBudgetTracker(**job.settings, on_exhausted=job.on_exhausted).attach(agent)
        try:
            yield agent
        finally:
            await client.close()

    async def arun(self, job):
        async with self.running(job) as agent:
            return (await agent.run(task=job.task)).messages[-1].content

    async def astream(self, job):
        async with (
            self.running(job, model_client_stream=True) as agent,
            contextlib.aclosing(agent.run_stream(task=job.task)) as parts,
        ):
            async for part in parts:
                yield part
