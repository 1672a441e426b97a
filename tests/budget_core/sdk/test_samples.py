"""Parallel samples of one prompt are no loop, whoever opened their calls."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

import pytest

from budget_core import AgentBudget, CallRequest, LoopDetected, Prompt, wrap_client
from budget_core.testing import Reply

SAMPLES = 6
ASK = [{"role": "user", "content": "What is 17 * 23?"}]


@pytest.fixture
def session():
    return AgentBudget("$5", max_repeated_calls=3).session()


@pytest.fixture
def gate(provider):
    gate = threading.Event()
    provider.default = Reply("391", gate=gate)
    yield gate
    gate.set()


def asked():
    return CallRequest(
        model="gpt-4o", prompt=Prompt(ASK), fingerprint=("gpt-4o", "17 * 23"), agent="voter"
    )


def sampled(session, client):
    """Ask as a framework does, whose call the guard adopts."""
    call = session.open_call(asked())
    try:
        client.chat.completions.create(model="gpt-4o", messages=ASK)
    finally:
        call.finish()


async def sampled_async(session, client):
    call = await session.open_call_async(asked())
    try:
        await client.chat.completions.create(model="gpt-4o", messages=ASK)
    finally:
        call.finish()


@contextmanager
def one_after_the_other(provider, ask):
    """Begin each sample when those before it are on the wire."""
    with ThreadPoolExecutor(SAMPLES) as pool:
        futures = []
        for at in range(SAMPLES):
            futures.append(pool.submit(copy_context().run, ask))
            provider.wait_for_requests(at + 1)
        yield futures


def test_adopted_calls(provider, client, session, gate):
    with one_after_the_other(provider, lambda: sampled(session, client)) as futures:
        gate.set()
    assert [future.exception() for future in futures] == [None] * SAMPLES
    assert provider.bill_nanos == session.spent_nanos


async def test_adopted_calls_in_tasks(provider, async_client, session, gate):
    tasks = []
    for at in range(SAMPLES):
        tasks.append(asyncio.create_task(sampled_async(session, async_client)))
        await asyncio.to_thread(provider.wait_for_requests, at + 1)
    gate.set()
    await asyncio.gather(*tasks)
    assert provider.bill_nanos == session.spent_nanos


def test_attempts_that_are_made_again(provider, client, session, gate):
    """The first attempt of each is refused by the provider; the second one is in flight."""
    refused, second = Reply(status=429, retry_after=0), Reply("391", gate=gate)
    provider.script(*[refused, second] * SAMPLES)
    wrapped = wrap_client(client, session)
    with ThreadPoolExecutor(SAMPLES) as pool:
        futures = []
        for at in range(SAMPLES):
            futures.append(
                pool.submit(wrapped.chat.completions.create, model="gpt-4o", messages=ASK)
            )
            provider.wait_for_requests(2 * at + 2)
        gate.set()
    assert [future.result().choices[0].message.content for future in futures] == ["391"] * SAMPLES
    assert provider.bill_nanos == session.spent_nanos


def test_requests_beside_an_adopted_call(provider, client, session, gate):
    """A framework that asks twice for one call of its own: the second one is still in flight."""

    def twice():
        call = session.open_call(asked())
        for _ in range(2):
            client.chat.completions.create(model="gpt-4o", messages=ASK)
        call.finish()

    provider.script(*[Reply("391"), Reply("391", gate=gate)] * SAMPLES)
    with ThreadPoolExecutor(SAMPLES) as pool:
        futures = []
        for at in range(SAMPLES):
            futures.append(pool.submit(copy_context().run, twice))
            provider.wait_for_requests(2 * at + 2)
        gate.set()
    assert all(future.exception() is None for future in futures)
    assert provider.bill_nanos == session.spent_nanos


def test_a_body_that_is_priced_again_is_counted_once(session):
    """What another handler changes in a prompt makes no second call of it."""
    with session:
        calls = [session.open_call(asked()) for _ in range(SAMPLES)]
        for call in calls:
            call.reprice(asked()._replace(fingerprint=("gpt-4o", "a changed prompt")))
        for call in calls:
            call.release()


def test_one_after_the_other_they_are_a_loop(provider, client, session):
    for _ in range(2):
        sampled(session, client)
    with pytest.raises(LoopDetected):
        sampled(session, client)
    assert provider.requests == 2
