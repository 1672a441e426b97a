"""An answer that the money has cut is told: by an event, the report, and `on_truncated=`."""

import asyncio

import anthropic
import openai
import pytest
from google import genai

from budget_core import AgentBudget, BudgetExhausted, wrap_client
from budget_core.testing import Reply

ASK = [{"role": "user", "content": "Why is the sea salt?"}]
LONG = Reply(" ".join(f"word{i}" for i in range(300)), input_tokens=20, output_tokens=6_000)


def chat(provider, asynchronous, stream):
    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = kind(base_url=provider.openai_url, api_key="test", max_retries=0)
    asked = {"model": "gpt-4o", "messages": ASK, "stream": stream}
    return client, lambda mine, **more: mine.chat.completions.create(**asked, **more)


def responses(provider, asynchronous, stream):
    client, _ = chat(provider, asynchronous, stream)
    asked = {"model": "gpt-4o", "input": ASK, "stream": stream}
    return client, lambda mine, max_tokens=None: mine.responses.create(
        **asked, **({} if max_tokens is None else {"max_output_tokens": max_tokens})
    )


def claude(provider, asynchronous, stream):
    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    client = kind(base_url=provider.anthropic_url, api_key="test", max_retries=0)
    asked = {"model": "claude-haiku-4-5", "messages": ASK, "stream": stream}
    return client, lambda mine, max_tokens=8_000: mine.messages.create(
        **asked, max_tokens=max_tokens
    )


def gemini(provider, asynchronous, stream):
    client = genai.Client(api_key="test", http_options={"base_url": provider.google_url})
    name = "generate_content_stream" if stream else "generate_content"

    def ask(mine, max_tokens=None):
        models = mine.aio.models if asynchronous else mine.models
        config = None if max_tokens is None else {"max_output_tokens": max_tokens}
        return getattr(models, name)(model="gemini-2.5-pro", contents="Why?", config=config)

    return client, ask


def carry_out(ask, client, asynchronous, stream, *settings):
    """Ask once with each of the settings, and close the client."""

    async def read():
        for each in settings:
            answer = await ask(client, **each)
            if stream:
                async for _ in answer:
                    pass
        if hasattr(client, "aio"):
            await client.aio.aclose()
        else:
            await client.close()

    if asynchronous:
        asyncio.run(read())
        return
    for each in settings:
        answer = ask(client, **each)
        for _ in answer if stream else ():
            pass
    client.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("api", [chat, responses, claude, gemini])
def test_a_cut_of_ours_is_told_and_a_caller_s_own_is_not(provider, api, asynchronous, stream):
    provider.default = LONG
    told = []
    budget = AgentBudget("$0.03", max_repeated_calls=None, on_truncated=told.append)
    with budget.session("s") as parent, parent.child_session("$0.02") as session:
        client, ask = api(provider, asynchronous, stream)
        mine = wrap_client(client, session)
        carry_out(ask, mine, asynchronous, stream, {"max_tokens": 100}, {})
        (bill,) = provider.bills[1:]
        (event,) = [one for one in session.events() if one.kind == "truncated"]
        assert event.data["cap"] == bill.output_cap < 6_000
        assert event.data["output"] == bill.output_tokens
        assert not event.data["final"]
        assert [each["cap"] for each in told] == [bill.output_cap]
        assert session.report()["truncated_answers"] == 1
        assert parent.report()["truncated_answers"] == 1
        assert session.terminated_by is None
        assert session.spent_nanos == provider.bill_nanos


def test_an_answer_that_ends_by_itself_is_whole(provider):
    provider.default = Reply("Salt.", output_tokens=300)
    client, ask = chat(provider, False, False)
    with AgentBudget("$0.02").session() as session:
        ask(wrap_client(client, session))
        assert session.report()["truncated_answers"] == 0


def test_with_a_reserve_a_call_is_not_squeezed_below_the_latest_answers(provider):
    provider.default = Reply("Salt.", input_tokens=10, output_tokens=1_200)
    client, ask = chat(provider, False, False)
    budget = AgentBudget("$0.042", finalization_reserve="$0.02", max_repeated_calls=None)
    with budget.session() as session:
        ask(wrap_client(client, session))
        with pytest.raises(BudgetExhausted):
            ask(wrap_client(client, session))
        assert provider.requests == 1
        assert session.has_last_word
