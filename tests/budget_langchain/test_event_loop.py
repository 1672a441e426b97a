"""Nothing of ours blocks an event loop, whichever way LangChain is run."""

import pytest
from langchain_openai import OpenAIEmbeddings

from budget_core import AgentBudget, BudgetExhausted
from budget_core.testing import Reply
from budget_langchain import BudgetedEmbeddings, BudgetMiddleware, LangChainBudgetCallback

MODEL_WAYS = ["ainvoke", "astream", "abatch", "agenerate", "astream_events"]
AGENT_WAYS = ["ainvoke", "astream", "abatch", "events"]


@pytest.fixture
def callback(waiting_ledger, guard_sdks):
    def make(budget="$1", **options):
        return LangChainBudgetCallback(
            budget, ledger=waiting_ledger, guard_sdks=guard_sdks, **options
        )

    return make


async def closed(callback, provider):
    """Check the books, which blocks, in a thread."""
    import asyncio

    def check():
        provider.wait_idle()
        assert provider.bill_nanos == callback.session.spent_nanos > 0
        assert callback.session.reserved == 0

    await asyncio.to_thread(check)


@pytest.mark.parametrize("way", MODEL_WAYS)
async def test_models(way, callback, gpt, provider, ask):
    async with callback(agents={"nobody": "$0.10"}) as budget:
        await ask(way, gpt(), "Hello")
        await closed(budget, provider)


@pytest.mark.parametrize("way", AGENT_WAYS)
async def test_agents_and_their_tools(way, callback, gpt, provider, drive, steps, researcher):
    steps(2)
    budget = callback(tool_costs={"search": "$0"}, agents={"scout": "$0.50"})
    agent = researcher(gpt(), name="scout")
    await drive(way, agent, "go", {"callbacks": [budget]})
    await closed(budget, provider)


@pytest.mark.parametrize("on_exhausted", ["finalize", "raise"])
async def test_an_agent_that_comes_to_its_limit(
    callback, gpt, provider, eager, researcher, on_exhausted
):
    budget = callback("$0.02", finalization_reserve="$0.006", on_exhausted=on_exhausted)
    agent = researcher(gpt(max_tokens=200), BudgetMiddleware(budget))
    go = {"messages": [("user", "go")]}
    if on_exhausted == "raise":
        with pytest.raises(BudgetExhausted):
            await agent.ainvoke(go)
    else:
        assert (await agent.ainvoke(go))["messages"][-1].text == "the end"
    await closed(budget, provider)


async def test_a_stream_whose_hold_grows(waiting_ledger, gpt, provider, unguarded):
    provider.default = Reply("salt " * 3_100, output_tokens=3_100)
    budget = LangChainBudgetCallback("$0.06", ledger=waiting_ledger, guard_sdks=False)
    async for _ in gpt().astream("Hello", {"callbacks": [budget]}):
        pass
    assert "extend" in waiting_ledger.asked
    await closed(budget, provider)


async def test_two_handlers_of_one_run(waiting_ledger, callback, gpt, provider):
    inner = LangChainBudgetCallback(session=AgentBudget("$1", ledger=waiting_ledger).session())
    budget = callback()
    await gpt().ainvoke("Hello", {"callbacks": [budget, inner]})
    await closed(budget, provider)
    await closed(inner, provider)


async def test_embeddings(callback, provider):
    budget = callback()
    model = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.openai_url,
        api_key="test",
        check_embedding_ctx_length=False,
    )
    await BudgetedEmbeddings(model, budget, guard_sdks=budget.guard_sdks).aembed_query("salt")
    assert provider.requests == 1
