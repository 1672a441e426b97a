"""Asking a model, and once more when that is refused."""

from contextlib import aclosing

import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest
from budget_core.calls import context
from budget_core.frameworks import LastWord, ending, spoken, spoken_sync, streamed

CALL = CallRequest(model="gpt-4o", input_tokens=1_000, output_cap=1_000)
COST = 12_500_000


@pytest.fixture
def session():
    """Money for one call, and for a last one."""
    return AgentBudget("$0.03", parent=None, finalization_reserve="$0.015").session()


@pytest.fixture(params=["whole", "parts"])
def ask(request, session):
    """Ask in either way; return whether it was the last word, for each part of the answer."""

    async def one(last):
        with ending(await session.open_call_async(CALL)) as call:
            call.finish(None)
            return [last is not None] * 2

    async def parts(last):
        with ending(await session.open_call_async(CALL)):
            yield last is not None
            yield last is not None

    async def asked(**options):
        if request.param == "whole":
            return await spoken(one, session, **options)
        async with aclosing(streamed(parts, session, **options)) as answer:
            said = []
            async for last in answer:
                said.append(last)
                assert context.finalizing() == ()  # while a reader does something else
            return said

    return asked


async def test_the_last_word_is_had_when_a_call_is_refused(ask, session):
    assert await ask() == [False, False]
    assert await ask() == [True, True]
    assert session.finalized
    with pytest.raises(BudgetExhausted):
        await ask()
    assert session.spent_nanos == 2 * COST
    assert session.reserved == 0


async def test_who_wants_none_is_refused_at_once(ask, session):
    await ask(finalize=False)
    with pytest.raises(BudgetExhausted):
        await ask(finalize=False)
    assert not session.finalized


async def test_the_first_refusal_is_raised_if_there_is_nothing_for_a_last_word(ask, session):
    with pytest.raises(BudgetExhausted):
        session.track(cost="$0.029")
    with pytest.raises(BudgetExhausted) as caught:
        await ask()
    assert caught.value.remaining == 0  # the reserve has $0.001 left
    assert not session.finalized


async def test_a_last_word_may_be_of_no_parts(session):
    async def parts(last):
        with ending(await session.open_call_async(CALL)):
            if last is None:
                yield False

    for said in ([False], []):
        async with aclosing(streamed(parts, session)) as answer:
            assert [last async for last in answer] == said
    assert session.finalized


async def test_a_reader_that_leaves_ends_the_call(session):
    async def parts(last):
        with ending(await session.open_call_async(CALL)):
            yield last
            yield last

    async with aclosing(streamed(parts, session)) as answer:
        assert await anext(answer) is None
    assert session.spent_nanos == COST
    assert session.reserved == 0


def test_a_blocking_framework_has_its_last_word(session):
    def ask(last):
        with ending(session.open_call(CALL)) as call:
            call.finish(None)
            return last and last.wrap_up

    assert spoken_sync(ask, session) is None
    with pytest.raises(BudgetExhausted):
        spoken_sync(ask, session, finalize=False)
    assert "last message" in spoken_sync(ask, session)
    assert session.finalized
    with pytest.raises(BudgetExhausted):
        spoken_sync(ask, session)
    assert session.spent_nanos == 2 * COST
    assert context.finalizing() == ()


async def answer():
    return "said"


@pytest.mark.parametrize("awaited", [True, False])
async def test_what_is_said_in_a_models_place_asks_none(session, awaited):
    session.cancel()
    refusals = []

    def instead(error):
        refusals.append(error)
        return LastWord(session, answer=answer() if awaited else "said")

    async def one(_last):
        await session.open_call_async(CALL)

    async def parts(_last):
        yield await session.open_call_async(CALL)

    assert await spoken(one, instead) == "said"
    assert [part async for part in streamed(parts, instead)] == ["said"]
    assert all(isinstance(error, BudgetExhausted) for error in refusals)
    assert session.spent_nanos == 0


def test_who_chooses_may_let_the_refusal_out(session):
    def nobody(error):
        raise error

    session.cancel()
    with pytest.raises(BudgetExhausted):
        spoken_sync(lambda _last: session.open_call(CALL), nobody)
    assert not session.finalized
