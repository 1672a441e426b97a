"""A chat of classic AutoGen with a tracker keeps what all adapters promise."""

import pytest
from autogen import AssistantAgent, ConversableAgent, register_function

from budget_autogen import AutoGenBudgetTracker
from budget_core.testing.conformance import AdapterConformance

pytestmark = pytest.mark.usefixtures("ledger_url")


class TestClassic(AdapterConformance):
    lacks = dict.fromkeys(["stream", "astream"], "a chat hands out whole messages")

    def chat(self, job):
        config = {
            "model": job.model,
            "api_key": "test",
            "base_url": job.provider.openai_url,
            "max_retries": 0,
            "cache_seed": None,
            "price": [0, 0],  # AutoGen warns of a model whose price it does not know
        }
        agent = AssistantAgent(job.agent, llm_config=config)
        user = ConversableAgent(
            "user",
            human_input_mode="NEVER",
            llm_config=False,
            is_termination_msg=lambda message: not message.get("tool_calls"),
        )
        register_function(job.tool, caller=agent, executor=user, description="Search the web.")
        AutoGenBudgetTracker(**job.settings, on_exhausted=job.on_exhausted).attach(agent, user)
        return user, agent

    def run(self, job):
        user, agent = self.chat(job)
        return user.initiate_chat(agent, message=job.task).summary

    async def arun(self, job):
        user, agent = self.chat(job)
        return (await user.a_initiate_chat(agent, message=job.task)).summary
