"""Asking a model, and once more when that is refused."""

from contextlib import aclosing

import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest
from budget_core.calls import context
from budget_core.frameworks.last_word import spoken, streamed
from budget_core.frameworks.outcomes import ending

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
            return [last, last]

    async def parts(last):
        with ending(await session.open_call_async(CALL)):
            yield last
            assert context.finalizing() == ()
            yield last

    async def asked(**options):
        if request.param == "whole":
            return await spoken(one, session, **options)
        async with aclosing(streamed(parts, session, **options)) as answer:
            return [last async for last in answer]

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
            if not last:
                yield last

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
        assert await anext(answer) is False
    assert session.spent_nanos == COST
    assert session.reserved == 0
