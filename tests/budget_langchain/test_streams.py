"""A model that does not stop: under the callback alone, with the guard on the SDK."""

import pytest

from budget_core import BudgetExhausted
from budget_core.testing import Reply
from budget_langchain import LangChainBudgetCallback


@pytest.mark.parametrize("limit", ["$0.01", "$0.02"])
async def test_twenty_thousand_tokens_do_not_break_the_budget(
    provider, gpt, limit, model_way, ask, square
):
    provider.default = Reply(input_tokens=100, output_tokens=20_000)
    callback = LangChainBudgetCallback(limit)
    await ask(model_way, gpt(), "write a book", {"callbacks": [callback]})
    assert provider.bills[0].output_cap is not None
    square(callback.session)


@pytest.mark.parametrize("way", ["stream", "astream", "astream_events"])
async def test_a_provider_that_ignores_the_cap_is_stopped_mid_stream(
    provider, gpt, way, ask, square
):
    provider.default = Reply(input_tokens=100, output_tokens=3_000, ignores_cap=True)
    callback = LangChainBudgetCallback("$0.02")
    with pytest.raises(BudgetExhausted):
        await ask(way, gpt(), "write a book", {"callbacks": [callback]})
    assert callback.session.reserved == 0
    assert callback.session.spent_nanos > 0


@pytest.mark.parametrize("maker", ["gpt", "claude"])
async def test_without_a_guard_a_stream_is_metered_and_stopped(
    provider, request, maker, unguarded, ask
):
    provider.default = Reply("word " * 4_000, chunk_delay=0.0005)
    callback = LangChainBudgetCallback("$0.03", guard_sdks=False)
    with pytest.raises(BudgetExhausted):
        await ask("stream", request.getfixturevalue(maker)(), "go", {"callbacks": [callback]})
    provider.wait_idle()
    assert provider.bills[0].aborted
    assert callback.session.reserved == 0
    assert callback.session.spent_nanos > 0


@pytest.mark.parametrize("maker", ["gpt", "claude"])
def test_a_callers_cap_is_held_exactly(provider, request, maker, guard_sdks, square):
    provider.default = Reply(input_tokens=10, output_tokens=20_000)
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    request.getfixturevalue(maker)(max_tokens=100).invoke("hi", {"callbacks": [callback]})
    assert provider.bills[0].output_tokens == 100
    square(callback.session)


def test_a_stream_that_is_dropped_is_charged(provider, gpt, guard_sdks, square):
    provider.default = Reply("word " * 100)
    callback = LangChainBudgetCallback("$1", guard_sdks=guard_sdks)
    stream = gpt().stream("hi", {"callbacks": [callback]})
    next(stream)
    stream.close()
    square(callback.session, exact=False)
