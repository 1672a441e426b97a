"""The SDKs run on trio, too: what waits or blocks there waits in a thread."""

import openai
import pytest
import trio

from budget_core import AgentBudget, BudgetExhausted, wrap_client
from budget_core.runtime.background import in_event_loop
from budget_core.testing import Reply

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Why?"}]}


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    return f"sqlite:///{tmp_path}/budgets.db" if request.param == "sqlite" else "memory://"


def run(provider, ledger, tasks, limit, **settings):
    """Let tasks ask at once; return what each came to, and the session."""
    outcomes = []

    async def ask(client, number):
        asked = {**ASK, "messages": [{"role": "user", "content": f"question {number}"}]}
        try:
            await client.chat.completions.create(**asked)
            outcomes.append("answered")
        except BudgetExhausted:
            outcomes.append("refused")

    async def main():
        with AgentBudget(limit, ledger=ledger, **settings).session() as session:
            async with (
                openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client,
                trio.open_nursery() as nursery,
            ):
                for number in range(tasks):
                    nursery.start_soon(ask, wrap_client(client, session), number)
            return session.spent_nanos, session.reserved

    return outcomes, *trio.run(main)


def test_tasks_wait_for_money(provider, ledger):
    provider.respond(lambda _: Reply("x", output_tokens=200, delay=0.1))
    outcomes, spent, reserved = run(provider, ledger, 4, "$0.004")
    assert outcomes == ["answered"] * 4
    assert (spent, reserved) == (provider.bill_nanos, 0)


def test_what_does_not_fit_is_refused(provider, ledger):
    outcomes, spent, reserved = run(provider, ledger, 2, "$0.00001")
    assert outcomes == ["refused"] * 2
    assert (provider.requests, spent, reserved) == (0, 0, 0)


# the SDK's own generators are left to the collector, which trio tells of
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_streams_are_exact(provider, ledger):
    async def main():
        with AgentBudget("$1", ledger=ledger).session() as session:
            async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
                guarded = wrap_client(client, session)
                stream = await guarded.chat.completions.create(**ASK, stream=True)
                assert [chunk async for chunk in stream]
            return session.spent_nanos

    assert trio.run(main) == provider.bill_nanos > 0


def test_a_loop_of_trio_is_one():
    async def main():
        return in_event_loop()

    assert trio.run(main)
    assert not in_event_loop()
