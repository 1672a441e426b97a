"""Many chats on one budget, in threads and in tasks: together they never exceed it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from budget_core import BudgetExhausted
from budget_core.testing import Reply, ToolCall

from .conftest import WORK

CHATS = 8


@pytest.fixture
def busy(provider):
    """Let the model search a few times before it answers."""

    def reply(incoming):
        if not incoming.tools or len(incoming.messages) > 8:
            return Reply("the end", **WORK)
        return Reply(tool_calls=[ToolCall("search", {"query": str(incoming.index)})], **WORK)

    provider.respond(reply)
    return provider


@pytest.fixture
def pairs(assistant, proxy, searching):
    def make(at):
        user, agent = proxy(f"user{at}"), assistant(f"agent{at}", system_message="Search.")
        searching(agent, user)
        return user, agent

    return make


def outcome(chat, *args, **options):
    try:
        return chat(*args, **options).summary
    except BudgetExhausted:
        return "refused"


@pytest.mark.parametrize("dollars", [0.02, 0.05, 1])
@pytest.mark.parametrize("reserve", [0, "$0.006"])
def test_threads(busy, pairs, tracker, dollars, reserve, square):
    budget = tracker(dollars, finalization_reserve=reserve, wait=0.2)
    chats = [pairs(at) for at in range(CHATS)]
    for pair in chats:
        budget.attach(*pair)
    with ThreadPoolExecutor(CHATS) as pool:
        ends = list(
            pool.map(lambda pair: outcome(pair[0].initiate_chat, pair[1], message="go"), chats)
        )
    if dollars == 1:
        assert ends == ["the end"] * CHATS
    elif not reserve:
        assert ends != ["the end"] * CHATS
    else:
        assert "the end" in ends
        assert budget.session.finalized
    square(budget.session)


async def test_tasks(busy, pairs, tracker, square):
    budget = tracker(0.05, finalization_reserve="$0.006", wait=0.2)
    chats = [pairs(at) for at in range(CHATS)]
    for pair in chats:
        budget.attach(*pair)

    async def run(user, agent):
        try:
            return (await user.a_initiate_chat(agent, message="go")).summary
        except BudgetExhausted:
            return "refused"

    ends = await asyncio.gather(*(run(*pair) for pair in chats))
    assert "the end" in ends
    square(budget.session)
