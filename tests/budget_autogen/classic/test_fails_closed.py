"""Whatever fails between classic AutoGen and the wire: nothing is sent that is not held."""

import asyncio
import contextlib

import pytest

from budget_autogen import paying
from budget_autogen.classic import guarded_agent, last_word, models, requests, tools
from budget_autogen.classic import paying as chats
from budget_core.frameworks import integration
from budget_core.frameworks import last_word as words
from budget_core.testing import Reply, ToolCall

ON_THE_WAY = [
    chats, guarded_agent, integration, last_word, models, paying, requests, tools, words,
]  # fmt: skip


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_chat(place, asynchronous, breaking, tracker, assistant, proxy, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"query": "salt"})]), Reply("done"))
    budget, worker, user = tracker("$1"), assistant(config={"cache_seed": None}), proxy()
    worker.register_for_llm(name="search", description="Search.")(search)
    user.register_for_execution(name="search")(search)
    budget.attach(worker)
    breaking(*place)
    with contextlib.suppress(Exception):
        if asynchronous:
            asyncio.run(user.a_initiate_chat(worker, message="Why?", max_turns=3))
        else:
            user.initiate_chat(worker, message="Why?", max_turns=3)
    breaking.check(budget.session)
