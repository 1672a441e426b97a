"""Nothing of ours blocks an event loop in chats of classic AutoGen."""

import asyncio

import pytest

from budget_core.testing import Reply, ToolCall


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


@pytest.mark.parametrize("budget", ["$1", "$0.02"])
async def test_a_chat(budget, waiting_ledger, tracker, assistant, proxy, provider):
    def restless(incoming):
        if not incoming.tools or (budget == "$1" and incoming.index > 1):
            return Reply("done", input_tokens=500, output_tokens=100)
        call = ToolCall("search", {"query": str(incoming.index)})
        return Reply(tool_calls=[call], input_tokens=500, output_tokens=100)

    provider.respond(restless)
    paid = tracker(budget, ledger=waiting_ledger, finalization_reserve="$0.005")
    worker = assistant(config={"cache_seed": None, "max_tokens": 200})
    user = proxy(is_termination_msg=lambda _: False, max_consecutive_auto_reply=12)
    worker.register_for_llm(name="search", description="Search.")(search)
    user.register_for_execution(name="search")(search)
    paid.attach(worker)
    paid.attach(user)
    await user.a_initiate_chat(worker, message="Why?", max_turns=12)
    await user.a_send("And now?", worker)
    heard = list(worker.chat_messages[user])
    await worker.a_receive("Go on.", user, request_reply=False)
    over = budget != "$1"
    assert (worker.chat_messages[user] == heard) == over

    def check():
        provider.wait_idle()
        assert paid.session.finalized == over
        assert provider.bill_nanos == paid.session.spent_nanos > 0
        assert paid.session.reserved == 0

    await asyncio.to_thread(check)
