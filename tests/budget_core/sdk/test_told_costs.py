"""``costs="provider"``: what the provider itself says an answer came to is what is charged."""

import anthropic
import openai
import pytest

from budget_core import AgentBudget, CallRequest, InvalidBudget
from budget_core.calls.responses import read_receipt
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
CHAT = {"model": "gpt-4o", "messages": SAY}
COUNTS = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def telling(**more):
    return Reply("Hello.", retell=lambda usage: {**usage, **more})


def last_call(session):
    return [event for event in session.events() if event.kind == "call"][-1].data


TOLD = {
    "OpenRouter": ({"cost": 0.0123}, 12_300_000),
    "OpenRouter, with a key of one's own": (
        {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0113}},
        12_300_000,
    ),
    "Vercel": ({"cost": "0.0123"}, 12_300_000),
    "Perplexity": ({"cost": {"request_cost": 0.005, "total_cost": 0.0123}}, 12_300_000),
    "xAI": ({"cost_in_usd_ticks": 123_000_000}, 12_300_000),
    "less than a nano": ({"cost": 1e-10}, 1),
    "nothing": ({"cost": 0}, 0),
}


@pytest.mark.parametrize("told", TOLD)
class TestInTheUsage:
    def test_it_is_charged(self, provider, client, claiming, told):
        more, nanos = TOLD[told]
        provider.script(telling(**more))
        with claiming(costs="provider", books=False) as session:
            client.chat.completions.create(**CHAT)
        assert session.spent_nanos == nanos
        assert last_call(session)["source"] == "provider"

    def test_of_a_stream_too(self, provider, client, claiming, told):
        more, nanos = TOLD[told]
        provider.script(telling(**more))
        with claiming(costs="provider", books=False) as session:
            list(client.chat.completions.create(**CHAT, stream=True))
        assert session.spent_nanos == nanos
        assert last_call(session)["source"] == "provider"

    async def test_async(self, provider, async_client, claiming, told):
        more, nanos = TOLD[told]
        provider.script(telling(**more))
        with claiming(costs="provider", books=False) as session:
            await async_client.chat.completions.create(**CHAT)
        assert session.spent_nanos == nanos

    def test_recorded_afterwards(self, told):
        more, nanos = TOLD[told]
        answer = {"model": "gpt-4o", "choices": [], "usage": {**COUNTS, **more}}
        with AgentBudget("$5", costs="provider").session() as session:
            session.wrap(answer)
        assert session.spent_nanos == nanos
        assert last_call(session)["source"] == "provider"

    def test_without_a_word_prices_count(self, provider, client, claiming, told):
        provider.script(telling(**TOLD[told][0]))
        with claiming() as session:
            client.chat.completions.create(**CHAT)
        assert "source" not in last_call(session)


class TestInAHeader:
    HEADER = "x-litellm-response-cost"

    def test_a_litellm_proxy_tells_it_there(self, provider, client, claiming):
        provider.script(Reply("Hello.", headers={self.HEADER: "0.0123"}))
        with claiming(costs="provider", books=False) as session:
            client.chat.completions.create(**CHAT)
        assert session.spent_nanos == 12_300_000

    def test_to_anthropic_s_sdk_too(self, provider, claiming):
        provider.script(Reply("Hello.", headers={self.HEADER: "3.7e-05"}))
        with (
            anthropic.Anthropic(base_url=provider.anthropic_url, api_key="k") as claude,
            claiming(costs="provider", books=False) as session,
        ):
            claude.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=SAY)
        assert session.spent_nanos == 37_000

    def test_raw_responses_too(self, provider, client, claiming):
        provider.script(Reply("Hello.", headers={self.HEADER: "0.0123"}))
        with claiming(costs="provider", books=False) as session:
            client.chat.completions.with_raw_response.create(**CHAT)
        assert session.spent_nanos == 12_300_000

    @pytest.mark.parametrize("said", ["0", "0.0", "None", "", "-1", "nan", "inf"])
    def test_what_is_no_cost_is_none(self, provider, client, claiming, said):
        provider.script(Reply("Hello.", headers={self.HEADER: said}))
        with claiming(costs="provider") as session:
            client.chat.completions.create(**CHAT)
        assert session.spent_nanos > 0

    def test_without_a_word_prices_count(self, provider, client, claiming):
        provider.script(Reply("Hello.", headers={self.HEADER: "0.0123"}))
        with claiming():
            client.chat.completions.create(**CHAT)


def test_what_may_run_unpriced_is_charged_as_it_tells(provider, client, claiming):
    provider.price("house-model", input=1, output=1)
    provider.script(telling(cost=0.0123))
    with claiming(costs="provider", unknown_model="allow", books=False) as session:
        client.chat.completions.create(model="house-model", messages=SAY)
    assert session.spent_nanos == 12_300_000
    assert session.report()["unpriced_calls"] == 0


def test_more_than_was_held_is_told(provider, client, claiming):
    provider.script(telling(cost=0.5))
    with claiming("$0.05", costs="provider", books=False) as session:
        client.chat.completions.create(**CHAT)
    assert session.report()["overage"] == pytest.approx(0.45)


def test_an_answer_that_does_not_tell_is_charged_by_prices(provider, client, claiming):
    with claiming(costs="provider") as session:
        client.chat.completions.create(**CHAT)
    assert "source" not in last_call(session)


def test_there_are_two_ways():
    with pytest.raises(InvalidBudget, match="costs="):
        AgentBudget("$5", costs="guess")


class TestPerplexity:
    """Its table has the dearest fee for a request; an answer tells the fee that it had."""

    def sonar(self, model="sonar", **more):
        return {"model": model, "choices": [], "usage": {**COUNTS, **more}}

    @pytest.mark.parametrize(
        ("told", "nanos"),
        [
            ({"cost": {"request_cost": 0.005, "total_cost": 0.00515}}, 5_000_000 + 150_000),
            ({"cost": {"request_cost": 0.008}}, 8_000_000 + 150_000),
            ({}, 12_000_000 + 150_000),
            ({"num_search_queries": 3}, 12_000_000 + 150_000),  # which its fee includes
        ],
    )
    def test_the_fee_that_is_told_counts(self, told, nanos):
        with AgentBudget("$5").session() as session:
            call = session.open_call(
                CallRequest(model="sonar", provider="perplexity", output_cap=99)
            )
            call.settle(self.sonar(**told))
        assert (session.spent_nanos, session.report()["unpriced_calls"]) == (nanos, 0)

    def test_deep_research_is_billed_for_what_it_reads_and_thinks(self):
        more = {"citation_tokens": 20_000, "num_search_queries": 18, "reasoning_tokens": 73_000}
        with AgentBudget("$5").session() as session:
            session.wrap(self.sonar("sonar-deep-research", **more))
        tokens = 100 * 2_000 + 50 * 8_000
        assert session.spent_nanos == tokens + 20_000 * 2_000 + 18 * 5_000_000 + 73_000 * 3_000


class TestGeminisModalities:
    """What an answer tells of images, audio and text counts, and not what is the dearest."""

    def gemini(self, model, **usage):
        return {"modelVersion": model, "candidates": [], "usageMetadata": usage}

    def cost(self, *args, **kwargs):
        with AgentBudget("$5").session() as session:
            session.wrap(self.gemini(*args, **kwargs))
        return session.spent_nanos

    def test_an_image_and_the_text_beside_it(self):
        told = [{"modality": "TEXT", "tokenCount": 100}, {"modality": "IMAGE", "tokenCount": 1_290}]
        counts = {"promptTokenCount": 10, "candidatesTokenCount": 1_390, "totalTokenCount": 1_400}
        said = self.cost("gemini-2.5-flash-image", **counts, candidatesTokensDetails=told)
        assert said == 10 * 300 + 100 * 2_500 + 1_290 * 30_000

    def test_an_image_that_is_not_told_apart(self):
        counts = {"promptTokenCount": 10, "candidatesTokenCount": 1_390, "totalTokenCount": 1_400}
        assert self.cost("gemini-2.5-flash-image", **counts) == 10 * 300 + 1_390 * 30_000

    def test_thoughts_are_text(self):
        told = [{"modality": "IMAGE", "tokenCount": 1_290}]
        counts = {"promptTokenCount": 10, "candidatesTokenCount": 1_290, "thoughtsTokenCount": 200}
        said = self.cost(
            "gemini-2.5-flash-image", **counts, totalTokenCount=1_500, candidatesTokensDetails=told
        )
        assert said == 10 * 300 + 200 * 2_500 + 1_290 * 30_000

    def test_audio_in_the_cache(self):
        cached = [{"modality": "AUDIO", "tokenCount": 300}, {"modality": "TEXT", "tokenCount": 100}]
        sent = [{"modality": "AUDIO", "tokenCount": 500}, {"modality": "TEXT", "tokenCount": 200}]
        counts = {"promptTokenCount": 700, "cachedContentTokenCount": 400, "totalTokenCount": 700}
        said = self.cost(
            "gemini-2.5-flash", **counts, promptTokensDetails=sent, cacheTokensDetails=cached
        )
        assert said == 200 * 1_000 + 100 * 300 + 300 * 100 + 100 * 30

    def test_a_prompt_that_is_left_out_is_zero(self):
        found = read_receipt(self.gemini("m", candidatesTokenCount=7, totalTokenCount=7))
        assert (found.usage.input, found.usage.output) == (0, 7)


def test_images_of_openai_and_the_text_beside_them():
    usage = {"input_tokens": 50, "output_tokens": 272, "total_tokens": 322,
             "input_tokens_details": {"text_tokens": 30, "image_tokens": 20},
             "output_tokens_details": {"text_tokens": 0, "image_tokens": 272}}  # fmt: skip
    with AgentBudget("$5").session() as session:
        session.open_call(CallRequest(model="gpt-image-1", output_cap=500)).settle(
            {"created": 1, "data": [], "usage": usage}
        )
    assert session.spent_nanos == 30 * 5_000 + 20 * 10_000 + 272 * 40_000


def test_a_key_of_moonshot_s_at_the_top_of_usage(provider, claiming):
    provider.price("kimi-k2-thinking", input=0.6, output=2.5, cache_read=0.15)

    def retell(usage):
        cached = usage.pop("prompt_tokens_details")["cached_tokens"]
        return {**usage, "cached_tokens": cached}

    provider.script(Reply("Hi", input_tokens=1_000, cached_tokens=800, retell=retell))
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client, claiming():
        client.chat.completions.create(model="kimi-k2-thinking", messages=SAY)
