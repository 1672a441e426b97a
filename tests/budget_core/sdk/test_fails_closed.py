"""Whatever fails between an SDK's method and the wire: nothing is sent that is not held."""

import asyncio
import contextlib

import anthropic
import openai
import pytest

from budget_core import AgentBudget
from budget_core.calls import context
from budget_core.sdk import claims, endpoints, exchange, stainless
from budget_core.sdk.installing import GuardLease
from budget_core.testing import Reply

ON_THE_WAY = [claims, endpoints, exchange, stainless]
HI = [{"role": "user", "content": "Hi"}]


def asked(kind, provider, streaming):
    """Return a client, and a function that asks by it."""
    if "OpenAI" in kind.__name__:
        client = kind(base_url=provider.openai_url, api_key="test", max_retries=0)
        return client, lambda: client.chat.completions.create(
            model="gpt-4o", messages=HI, stream=streaming
        )
    client = kind(base_url=provider.anthropic_url, api_key="test", max_retries=0)
    return client, lambda: client.messages.create(
        model="claude-sonnet-4-6", messages=HI, max_tokens=100, stream=streaming
    )


async def ask_async(client, ask):
    async with client:
        answer = await ask()
        if isinstance(answer, openai.AsyncStream | anthropic.AsyncStream):
            async for _ in answer:
                pass


def ask_sync(client, ask):
    with client:
        answer = ask()
        if isinstance(answer, openai.Stream | anthropic.Stream):
            list(answer)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "kind", [openai.OpenAI, openai.AsyncOpenAI, anthropic.Anthropic, anthropic.AsyncAnthropic]
)
def test_an_sdk(place, kind, streaming, breaking, provider):
    provider.default = Reply("salt")
    lease = GuardLease()
    session = AgentBudget("$1", parent=None).session()
    client, ask = asked(kind, provider, streaming)
    breaking(*place)
    with contextlib.suppress(Exception), context.claiming(session):
        if "Async" in kind.__name__:
            asyncio.run(ask_async(client, ask))
        else:
            ask_sync(client, ask)
    breaking.check(session)
    lease.release()
