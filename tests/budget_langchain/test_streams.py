"""A model that does not stop: under the callback alone, with the guard on the SDK."""

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from budget_core import BudgetExhausted, register_model
from budget_core.money.prices import lookup, registry
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


class Told(GenericFakeChatModel):
    """A model that no guard sees; it tells its usage at the end, as most do, or does not."""

    model: str = "told-model"
    tells: bool = True

    def __init__(self, words, **fields):
        super().__init__(messages=iter([AIMessage("salt " * words)]), **fields)
        self._words = words

    def _stream(self, *args, **kwargs):
        yield from super()._stream(*args, **kwargs)
        if self.tells:
            usage = {
                "input_tokens": 10,
                "output_tokens": self._words,
                "total_tokens": self._words + 10,
            }
            chunk = ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage))
            yield chunk


@pytest.mark.parametrize("way", ["stream", "astream", "astream_events"])
@pytest.mark.parametrize("words", [1_000, 1_500, 2_500])
@pytest.mark.parametrize("tells", [True, False])
async def test_an_answer_that_the_budget_pays_for_is_not_stopped(told, way, words, tells, ask):
    """Two pieces a word, at most: as many tokens as the provider bills, or less."""
    callback = LangChainBudgetCallback("$0.06", max_repeated_calls=None)
    await ask(way, Told(words, tells=tells), "go", {"callbacks": [callback]})
    session = callback.session
    if tells:
        assert session.spent == pytest.approx(words * 1e-5)
    else:  # by its bytes, which no token count exceeds
        assert session.spent >= words * 5e-5
    assert session.reserved == 0


@pytest.mark.parametrize("way", ["stream", "astream", "astream_events"])
async def test_one_that_it_does_not_pay_for_is(told, way, ask):
    callback = LangChainBudgetCallback("$0.01")
    with pytest.raises(BudgetExhausted):
        await ask(way, Told(2_000), "go", {"callbacks": [callback]})
    assert callback.session.reserved == 0
    assert 0.01 <= callback.session.spent < 0.011


@pytest.fixture
def told():
    register_model("told-model", 0, 10, max_output_tokens=16_384)
    yield
    registry.clear()
    lookup.forget()
