"""What no worst case covers is refused while a budget is in force; what is free passes."""

import asyncio

import anthropic
import httpx
import openai
import pytest

from budget_core import Unbounded, UnknownModel, wrap_client

SAY = [{"role": "user", "content": "Say hello."}]
BATCH = {"custom_id": "1", "params": {"model": "claude-sonnet-4-6", "messages": SAY}}

UNBOUNDED = {
    "images": lambda c: c.images.generate(model="gpt-image-1", prompt="a cat"),
    "speech": lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input="hello"),
    "transcription": lambda c: c.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", b"RIFF")
    ),
    "batch": lambda c: c.batches.create(
        input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
    ),
}


@pytest.fixture
def claude(provider):
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test") as client:
        yield client


NOWHERE = {
    "a compaction": lambda c: c.post("/responses/compact", body={"model": "m"}, cast_to=object),
    "a path like a free one": lambda c: c.post("/models/m/generate", body={}, cast_to=object),
    "an unknown path": lambda c: c.post("/rerank", body={"query": "salt"}, cast_to=object),
    "no body": lambda c: c.post("/rerank", cast_to=object),
}


@pytest.mark.parametrize("way", NOWHERE)
def test_a_path_that_nobody_knows_is_refused(provider, client, claiming, way):
    with claiming(), pytest.raises(Unbounded, match=r"POST /|a compaction"):
        NOWHERE[way](client)
    assert provider.requests == 0


@pytest.mark.parametrize("way", UNBOUNDED)
class TestUnbounded:
    def test_is_refused(self, provider, client, claiming, way):
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            UNBOUNDED[way](client)
        assert provider.requests == 0

    def test_is_recorded_where_it_is_allowed(self, provider, client, claiming, way):
        with claiming(unbounded="allow", books=False) as session:
            UNBOUNDED[way](client)
        report = session.report()
        priced = way == "images"  # by its usage, all of it at the price of images
        assert report["breakdown"]["llm"]["calls"] == 1
        assert report["unpriced_calls"] == (0 if priced else 1)
        assert (session.spent_nanos >= provider.bill_nanos) == priced

    def test_passes_without_a_session(self, provider, client, way):
        UNBOUNDED[way](client)
        assert provider.requests == 1


def test_a_batch_of_messages_is_refused(provider, claude, claiming):
    with claiming(), pytest.raises(Unbounded, match="a batch"):
        claude.messages.batches.create(requests=[BATCH])
    assert provider.requests == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"fallbacks": [{"model": "claude-opus-4-6"}]},
        {"inference_geo": "eu"},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "m"}]},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {
            "messages": [
                {"role": "user", "content": [
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/c.png"}}
                ]}
            ]
        },
    ],
    ids=["server tool", "fallbacks", "a region", "remote MCP", "compaction", "image by url"],
)  # fmt: skip
def test_what_has_no_bound_is_refused(provider, claude, claiming, extra):
    body = {"model": "claude-sonnet-4-6", "messages": SAY, "max_tokens": 50} | extra
    known = {key: body.pop(key) for key in ("fallbacks", "inference_geo") if key in body}
    with claiming(), pytest.raises(Unbounded):
        claude.beta.messages.create(**body, extra_body=known)
    assert provider.requests == 0


def test_an_unknown_model_is_refused(provider, claude, claiming):
    with claiming(), pytest.raises(UnknownModel, match="register_model"):
        claude.messages.create(model="claude-ultra", messages=SAY, max_tokens=50)
    assert provider.requests == 0


def test_what_is_free_passes(provider, client, claude, claiming):
    with claiming("$0.0000001") as session:
        client.moderations.create(input="hello")
        client.models.list()
        claude.messages.count_tokens(model="claude-sonnet-4-6", messages=SAY)
    assert session.report()["breakdown"]["llm"]["calls"] == 0
    assert provider.bill_nanos == 0


class TestWebSockets:
    @pytest.mark.parametrize("path", ["realtime", "responses"])
    def test_are_refused(self, client, claiming, path):
        resource = getattr(client, path)
        if not hasattr(resource, "connect"):
            pytest.skip("this version of the SDK has no such WebSocket")
        with claiming(), pytest.raises(Unbounded, match="WebSocket"):
            resource.connect(**({"model": "gpt-realtime"} if path == "realtime" else {}))

    def test_are_refused_on_a_wrapped_client(self, client, claiming):
        with claiming(ambient=False) as session, pytest.raises(Unbounded, match="WebSocket"):
            wrap_client(client, session).realtime.connect(model="gpt-realtime")

    def test_async(self, async_client, claiming):
        async def connect():
            async with async_client.realtime.connect(model="gpt-realtime"):
                pass

        with claiming(), pytest.raises(Unbounded, match="WebSocket"):
            asyncio.run(connect())

    def test_pass_where_that_is_allowed_and_without_a_session(self, client, claiming):
        assert client.realtime.connect(model="gpt-realtime")
        with claiming(unbounded="allow"):
            assert client.realtime.connect(model="gpt-realtime")


def test_the_usual_region_has_the_usual_price(provider, claude, claiming):
    with claiming():
        claude.messages.create(
            model="claude-sonnet-4-6",
            messages=SAY,
            max_tokens=50,
            extra_body={"inference_geo": "global"},
        )
    assert provider.requests == 1


@pytest.mark.parametrize(
    "extra",
    [{"plugins": [{"id": "web"}]}, {"search_parameters": {"mode": "on"}}, {"next_year_s": True}],
    ids=lambda extra: next(iter(extra)),
)
def test_a_parameter_that_the_api_does_not_have_is_refused_at_other_servers(
    provider, client, claiming, extra
):
    with claiming(), pytest.raises(Unbounded, match=next(iter(extra))):
        client.chat.completions.create(model="gpt-4o", messages=SAY, extra_body=extra)
    assert provider.requests == 0


def test_what_such_servers_say_of_sampling_passes(provider, client, claiming):
    extra = {"min_p": 0.1, "guided_json": {}, "chat_template_kwargs": {}, "plugins": None}
    with claiming():
        client.chat.completions.create(model="gpt-4o", messages=SAY, extra_body=extra)
    assert provider.requests == 1


def test_at_home_the_provider_answers_for_its_parameters(claiming):
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(400, json={"error": {"message": "unknown parameter"}})

    home = openai.OpenAI(
        api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    with claiming(), home, pytest.raises(openai.BadRequestError):
        home.chat.completions.create(model="gpt-4o", messages=SAY, extra_body={"new": True})
    assert len(asked) == 1


def test_a_mode_that_no_cap_bounds_is_refused(provider, client, claiming):
    with claiming(), pytest.raises(Unbounded, match=r"reasoning\.mode"):
        client.responses.create(model="gpt-5", input="hi", reasoning={"mode": "pro"})
    with claiming():
        client.responses.create(model="gpt-5", input="hi", reasoning={"effort": "low"})
    assert provider.requests == 1
