"""Models of all kinds: those that ask others, those that ask nobody, those that cannot ask."""

import asyncio

import pytest
from budget_pydantic_ai import PydanticAIBudget
from openai import AsyncOpenAI
from pydantic_ai import Agent, VideoUrl
from pydantic_ai.models.concurrency import ConcurrencyLimitedModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.openai import OpenAIProvider

from budget_core import BudgetExhausted
from budget_core.testing import Provider, Reply


@pytest.fixture
def provider():
    with Provider(default=Reply("Salt.")) as running:
        yield running


@pytest.fixture
def run(provider):
    """Ask an agent whose model is made within the event loop."""

    async def ask(make, stream, *said):
        async with AsyncOpenAI(
            base_url=provider.openai_url, api_key="test", max_retries=0
        ) as client:

            def model(name, kind=OpenAIChatModel):
                return kind(name, provider=OpenAIProvider(openai_client=client))

            agent = Agent(make(model))
            if not stream:
                return (await agent.run(said)).output
            async with agent.run_stream(said) as answer:
                return await answer.get_output()

    return lambda *asked: asyncio.run(ask(*asked))


def fallback(model):
    return FallbackModel(model("gpt-4o"), model("gpt-4o-mini"))


def nested(model):
    return ConcurrencyLimitedModel(FallbackModel(model("gpt-4o"), fallback(model)), limiter=1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("make", "failures"), [(fallback, 0), (fallback, 1), (nested, 2)])
def test_of_a_model_that_asks_others_those_are_paid(provider, run, make, failures, stream):
    provider.script(*[Reply(status=500)] * failures)
    with PydanticAIBudget("$1") as budget:
        assert run(make, stream, "why?") == "Salt."
    assert budget.session.spent_nanos == provider.bill_nanos > 0
    assert budget.report()["breakdown"]["llm"]["calls"] == 1
    assert budget.session.reserved == 0


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_asks_others_is_refused_as_they_are(provider, run, stream):
    budget = PydanticAIBudget("$0.0001", on_exhausted="raise")
    with budget, pytest.raises(BudgetExhausted, match="gpt-4o"):
        run(fallback, stream, "why?")
    assert provider.requests == 0
    assert budget.session.reserved == 0


async def said(_messages, _info):
    yield "said"


@pytest.mark.parametrize("make", [TestModel, lambda: FunctionModel(stream_function=said)])
def test_one_that_asks_nobody_costs_nothing(provider, run, make):
    with PydanticAIBudget("$1") as budget:
        assert run(lambda _model: make(), True, "why?")
    assert (provider.requests, budget.session.spent_nanos) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [OpenAIChatModel, OpenAIResponsesModel])
def test_an_error_before_any_request_is_free(provider, run, kind, stream):
    with PydanticAIBudget("$1") as budget:
        for _ in range(3):
            with pytest.raises(NotImplementedError, match="VideoUrl"):
                run(lambda model: model("gpt-4o", kind), stream, VideoUrl(url="http://localhost/x"))
            assert budget.session.reserved == 0
    assert (provider.requests, budget.session.spent_nanos) == (0, 0)
