"""Searches at the provider, where they are allowed, are charged with the answer that tells them."""

import anthropic
import openai
import pytest
from google import genai

from budget_core import UnknownModel
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
CLAUDE = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": SAY,
    "tools": [{"type": "web_search_20250305", "name": "web_search"}],
}
GPT = {"model": "gpt-5", "input": "hi", "tools": [{"type": "web_search"}]}
GEMINI = {
    "model": "gemini-2.5-flash",
    "contents": "hi",
    "config": {"tools": [{"google_search": {}}]},
}


@pytest.fixture(params=["whole", "stream"])
def streamed(request):
    return request.param == "stream"


def messages(provider, streamed):
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="k") as client:
        answer = client.messages.create(**CLAUDE, stream=streamed)
        list(answer) if streamed else None


def responses(provider, streamed):
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        answer = client.responses.create(**GPT, stream=streamed)
        list(answer) if streamed else None


def generate(provider, streamed):
    client = genai.Client(api_key="k", http_options={"base_url": provider.google_url})
    if streamed:
        list(client.models.generate_content_stream(**GEMINI))
    else:
        client.models.generate_content(**GEMINI)


WAYS = {"Anthropic": (messages, 30_000_000), "OpenAI": (responses, 30_000_000),
        "Google": (generate, 35_000_000)}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_searches_are_charged(provider, claiming, way, streamed):
    ask, fee = WAYS[way]
    provider.script(Reply("Hello.", searches=3), Reply("Hello."))
    with claiming("$5", unbounded="allow") as session:
        ask(provider, streamed)
        searched = session.spent_nanos
        ask(provider, streamed)
    assert searched - (session.spent_nanos - searched) == fee
    assert provider.bills[0].searches == 3
    assert session.report()["unpriced_calls"] == 0


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"])
@pytest.mark.parametrize("way", ["heard", "spoken", "both"])
def test_audio_without_a_price_is_refused_before_it_is_sent(provider, client, claiming, model, way):
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    said = SAY if way == "spoken" else [{"role": "user", "content": [part]}]
    spoken = (
        {} if way == "heard" else {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}
    )
    with claiming(), pytest.raises(UnknownModel, match="audio of model"):
        client.chat.completions.create(model=model, messages=said, **spoken)
    assert provider.requests == 0


def test_text_of_such_a_model_is_priced(provider, client, claiming):
    provider.price("gpt-4o-audio-preview", input=2.5, output=10)
    with claiming():
        client.chat.completions.create(model="gpt-4o-audio-preview", messages=SAY)


def test_audio_that_may_run_unpriced_is_charged_for_its_text(provider, client, claiming):
    provider.price("gpt-4o-audio-preview", input=2.5, output=10)
    provider.script(
        Reply("Hi", retell=lambda u: {**u, "completion_tokens_details": {"audio_tokens": 1}})
    )
    with claiming(unknown_model="allow", exact=False) as session:
        client.chat.completions.create(
            model="gpt-4o-audio-preview", messages=SAY, modalities=["text", "audio"]
        )
    assert session.spent_nanos > 0
    assert session.report()["unpriced_calls"] == 1
