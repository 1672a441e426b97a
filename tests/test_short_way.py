"""What a call costs, counted in Python-level function calls: the usual way stays short.

A bound stands beside what was measured (CPython 3.11); lower it when the way becomes shorter.
"""

import gc
import sys
from collections import Counter

import anthropic
import openai
import pytest

from budget_core import AgentBudget, CallRequest, Limits, MemoryLedger, Prompt, Usage, wrap_client
from budget_core.ledger import Account
from budget_core.money.amounts import Amounts
from budget_core.testing import Reply

WARM = 2
OURS = "src/budget_"


def calls_of(action, warm=WARM):
    """Return the names of the functions that `action` calls, after some runs to warm up."""
    for _ in range(warm):
        action()
    called = []

    def note(frame, event, _):
        if event == "call":
            called.append(f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}")

    gc.collect()
    gc.disable()  # what others left to be collected is not ours
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
        gc.enable()
    return called[1:]  # without the action itself


def fewest_calls_of(action):
    """Return what `action` calls when the network gives it each answer in one piece."""
    runs = [calls_of(action), *(calls_of(action, warm=0) for _ in range(5))]
    return min(runs, key=len)


def added_by_the_guard(raw, guarded):
    """Return what a call costs beyond what the SDK itself does, whoever may have guarded that."""
    before = [name for name in fewest_calls_of(raw) if OURS not in name]
    after = fewest_calls_of(guarded)
    return len(after) - len(before), Counter(after) - Counter(before)


@pytest.fixture
def session():
    return AgentBudget("$1000").session()


REQUEST = CallRequest(
    model="gpt-4o", prompt=Prompt([{"role": "user", "content": "Hello"}]), output_cap=100
)
USAGE = Usage(20, 10)


def test_a_cost_that_is_tracked(session):
    called = calls_of(lambda: session.track("found", cost=0.01, tool_name="search"))
    assert len(called) <= 17, called  # measured: 16


def test_a_hold_in_the_ledger_and_its_end():
    ledger = MemoryLedger()
    ledger.open(Account("a", None, Limits.of("$1000")))
    ids = iter("abc")
    held, came_to = Amounts(1_000, 10, 1, 0), Amounts(900, 9, 1, 0)

    def hold():
        name = next(ids)
        ledger.reserve(name, ("a",), held)
        ledger.commit(name, came_to, ("a",))

    called = calls_of(hold)
    assert len(called) <= 7, called  # measured: 6


def test_a_call_that_is_opened_and_settled(session):
    called = calls_of(lambda: session.open_call(REQUEST).settle(USAGE))
    assert len(called) <= 44, called  # measured: 44


def test_a_call_of_a_child(session):
    child = session.child_session("$100")
    called = calls_of(lambda: child.open_call(REQUEST).settle(USAGE))
    assert len(called) <= 48, called  # measured: 48


def test_a_guarded_chat_completion(provider, session):
    provider.default = Reply("Hello.")
    raw = openai.OpenAI(base_url=provider.openai_url, api_key="test")
    guarded = wrap_client(raw, session)
    settings = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    added, called = added_by_the_guard(
        lambda: raw.chat.completions.create(**settings),
        lambda: guarded.chat.completions.create(**settings),
    )
    assert added <= 99, called  # measured: 99


def test_a_guarded_message(provider, session):
    provider.default = Reply("Hello.")
    raw = anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test")
    guarded = wrap_client(raw, session)
    settings = {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    added, called = added_by_the_guard(
        lambda: raw.messages.create(**settings), lambda: guarded.messages.create(**settings)
    )
    assert added <= 97, called  # measured: 97
