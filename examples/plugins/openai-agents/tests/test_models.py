"""An error before any request is free."""

import asyncio

import pytest
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from agents.models.openai_responses import OpenAIResponsesWSModel
from budget_openai_agents import OpenAIAgentsBudget
from budget_openai_agents.adapter import BudgetedModel
from openai import AsyncOpenAI

from budget_core.testing import Provider

UNKNOWN = [{"role": "user", "content": [{"type": "unknown"}]}, object()]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [OpenAIChatCompletionsModel, OpenAIResponsesModel])
def test_an_error_before_any_request_is_free(kind, stream):
    async def run():
        async with AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
            agent = Agent(name="worker", model=kind("gpt-4o", client))
            if not stream:
                return await Runner.run(agent, UNKNOWN)
            async for _ in (result := Runner.run_streamed(agent, UNKNOWN)).stream_events():
                pass
            return result

    with Provider() as provider, OpenAIAgentsBudget("$1") as budget:
        for _ in range(3):
            with pytest.raises(Exception, match=r"Unknown content|JSON"):
                asyncio.run(run())
            assert budget.session.reserved == 0
    assert (provider.requests, budget.session.spent_nanos) == (0, 0)


def test_what_goes_by_websocket_is_seen_by_no_guard():
    with OpenAIAgentsBudget("$1") as budget:
        for kind, sdk in ((OpenAIResponsesModel, "openai"), (OpenAIResponsesWSModel, None)):
            model = kind("gpt-4o", AsyncOpenAI(api_key="test"))
            assert BudgetedModel(model, "worker", budget)._self_sdk == sdk
