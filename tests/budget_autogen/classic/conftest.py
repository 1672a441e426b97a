"""Agents of classic AutoGen that talk to the test provider, and the books of all of them."""

from pathlib import Path

import pytest
from autogen import AssistantAgent, ConversableAgent, GroupChat, GroupChatManager, register_function

from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core.testing import Reply, ToolCall

WORK = {"input_tokens": 500, "output_tokens": 100}
"""The usage of one reply: $0.000135 with gpt-4o-mini, $0.00225 with gpt-4o."""


def pytest_collection_modifyitems(items):
    # AutoGen's own: it keeps its HTTP clients for ever, and the caches on disk as well
    unclosed = "ignore:unclosed:ResourceWarning"
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(unclosed))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """AutoGen caches in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def llm(provider):
    def make(**options):
        where = {"api_key": "test", "base_url": provider.openai_url, "max_retries": 0}
        return {"model": "gpt-4o", **where, **options}

    return make


@pytest.fixture
def assistant(llm):
    def make(name="assistant", *, kind=AssistantAgent, config=None, **options):
        return kind(name, llm_config=llm(**(config or {})), **options)

    return make


def done(message):
    return not message.get("tool_calls")


@pytest.fixture
def proxy():
    """A user who runs tools, and is content with the first answer."""

    def make(name="user", *, kind=ConversableAgent, **options):
        options.setdefault("is_termination_msg", done)
        return kind(name, human_input_mode="NEVER", llm_config=False, **options)

    return make


@pytest.fixture
def tracker():
    """Loops are what most of these tests make."""

    def make(budget=None, **options):
        options.setdefault("max_repeated_calls", None)
        return AutoGenBudgetTracker(budget, **options)

    return make


@pytest.fixture
def group(assistant, proxy, llm):
    """A user, a writer and a critic, and their manager."""

    def make(method="auto", *, rounds=8, **options):
        members = [
            proxy(is_termination_msg=lambda _: False),
            assistant("writer"),
            assistant("critic"),
        ]
        settings = {"max_round": rounds, "speaker_selection_method": method, **options}
        chat = GroupChat(members, **settings)
        return GroupChatManager(chat, llm_config=llm())

    return make


@pytest.fixture
def square(provider):
    """Check the books against the provider's own."""

    def check(*sessions, exact=True):
        provider.wait_idle()
        bill, spent = provider.bill_nanos, sum(session.spent_nanos for session in sessions)
        assert bill == spent if exact else bill <= spent
        for session in sessions:
            limit = session.limits.lifelong("usd")
            assert limit is None or bill <= limit
            assert session.reserved == 0
            assert session.ledger.verify() == []

    return check


@pytest.fixture
def searching():
    """Give one agent a tool to ask for, and the other one the tool itself."""

    def make(caller, executor):
        ran = []

        def search(query: str) -> str:
            ran.append(query)
            return f"found {query}"

        register_function(search, caller=caller, executor=executor, description="Search the web.")
        return ran

    return make


def is_choice(incoming):
    return "next role" in incoming.last_text


@pytest.fixture
def steps(provider):
    """Let the provider's model search a number of times, and then answer."""

    def script(count):
        calls = [ToolCall("search", {"query": str(at)}) for at in range(count)]
        provider.script(
            *(Reply(tool_calls=[call], **WORK) for call in calls), Reply("done", **WORK)
        )

    return script


@pytest.fixture
def eager(provider):
    """Let the provider's model call its tool for ever, as long as it may."""

    def reply(incoming):
        if not incoming.tools:
            return Reply("the end", **WORK)
        return Reply(tool_calls=[ToolCall("search", {"query": str(incoming.index)})], **WORK)

    provider.respond(reply)
    return provider


@pytest.fixture
def talking(provider):
    """Let the provider's models talk for ever, and choose who speaks next by turns."""

    def reply(incoming):
        if "last message" in incoming.last_text:
            return Reply("the end", **WORK)
        if is_choice(incoming):
            return Reply(("writer", "critic")[incoming.index % 4 // 2], **WORK)
        return Reply(f"text {incoming.index}", **WORK)

    provider.respond(reply)
    return provider


@pytest.fixture
def unguarded():
    from budget_core.sdk import installing
    from budget_core.sdk.openai import GUARD

    GUARD.uninstall()
    installed = installing._installed.pop("openai", None)
    forever = installing._forever[:]
    yield
    if installed is not None:
        GUARD.install()
        installing._installed["openai"] = installed
    installing._forever[:] = forever
