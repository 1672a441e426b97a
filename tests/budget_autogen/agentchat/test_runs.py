"""Every shape of run: charged exactly, and stopped at every call of it as documented."""

import pytest
from autogen_agentchat.base import TaskResult
from autogen_agentchat.teams import BaseGroupChat
from openai import LengthFinishReasonError
from pydantic import ValidationError

from budget_autogen import AutoGenBudgetTracker
from budget_core import BudgetExhausted
from budget_core.frameworks.last_word import WRAP_UP


async def test_a_run_costs_what_the_provider_bills(scenario, begin, provider, square, guard_sdks):
    play, runnable = begin(scenario)
    tracker = AutoGenBudgetTracker("$5", guard_sdks=guard_sdks).attach(runnable)
    await play.run(runnable)
    assert provider.requests == len(play.replies)
    square(tracker.session)
    assert tracker.get_report()["breakdown"]["llm"]["calls"] == len(play.replies)


@pytest.mark.usefixtures("ledger_url")
async def test_it_is_refused_at_every_call(tripping, begin, provider, square):
    name, k = tripping
    play, runnable = begin(name)
    limits = {"llm_calls": k - 1, "on_exhausted": "raise"}
    tracker = AutoGenBudgetTracker("$5", **limits).attach(runnable)
    with pytest.raises(BudgetExhausted):
        await play.run(runnable)
    assert provider.requests == k - 1
    square(tracker.session)
    assert tracker.session.exhausted
    assert tracker.session.terminated_by == "budget_exhausted"


@pytest.mark.usefixtures("ledger_url")
async def test_the_last_word_is_had_at_every_call(speaking, begin, provider, square):
    name, k = speaking
    play, runnable = begin(name)
    tracker = AutoGenBudgetTracker("$5", llm_calls=k, finalization_reserve=0.1).attach(runnable)
    result = await play.run(runnable)
    assert isinstance(result, TaskResult)
    square(tracker.session)
    if k == len(play.replies):
        return
    assert provider.requests == k
    assert tracker.session.finalized
    assert tracker.session.terminated_by == "finalized"
    body = provider.bills[-1].body
    assert "tools" not in body
    assert WRAP_UP in str(body["messages"])
    assert result.messages[-1].to_text()
    assert not isinstance(runnable, BaseGroupChat) or result.stop_reason.startswith("Budget ")


@pytest.mark.parametrize("on_exhausted", ["raise", "finalize"])
async def test_dollars_are_never_exceeded(tripping, on_exhausted, begin, provider, square):
    name, k = tripping
    play, runnable = begin(name)
    budget = 0.00135 * k + 0.0002  # a call comes to $0.00135
    settings = {"finalization_reserve": 0.2, "on_exhausted": on_exhausted}
    tracker = AutoGenBudgetTracker(budget, **settings).attach(runnable)
    errors = (BudgetExhausted, RuntimeError, ValidationError, LengthFinishReasonError)
    try:
        await play.run(runnable)
    except errors as error:
        failed = error
    else:
        failed = None
    square(tracker.session)
    assert provider.bill_nanos <= tracker.session.limits.lifelong("usd")
    if failed is not None and not isinstance(failed, ValidationError | LengthFinishReasonError):
        assert (
            isinstance(failed, BudgetExhausted)
            or "Budget" in str(failed)
            or "Session" in str(failed)
        )
