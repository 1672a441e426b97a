"""What is not sold by the token: images, speech, transcriptions, moderations, batches."""

import base64

import anthropic
import openai
import pytest

from budget_core.testing import Incoming, Reply

PNG = b"\x89PNG\r\n"
CENT = 10_000_000


def test_images_are_sold_by_the_token(client, provider):
    provider.script(Reply(), Reply(output_tokens=10, input_tokens=100))
    answer = client.images.generate(model="gpt-image-1", prompt="A red fox", n=2)
    assert [base64.b64decode(image.b64_json)[:6] for image in answer.data] == [PNG] * 2
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 2112, 2115)
    assert (usage.input_tokens_details.text_tokens, usage.input_tokens_details.image_tokens) == (
        3,
        0,
    )
    assert usage.output_tokens_details.image_tokens == 2112
    assert provider.bill_nanos == 3 * 5000 + 2112 * 40_000
    scripted = client.images.generate(model="gpt-image-1", prompt="A red fox")
    assert scripted.usage.total_tokens == 110
    assert provider.bills[1].nanos == 100 * 5000 + 10 * 40_000


def test_usage_of_images_may_be_withheld(client, provider):
    provider.script(Reply(usage=False))
    assert client.images.generate(model="gpt-image-1", prompt="A red fox").usage is None
    assert provider.bill_nanos == 3 * 5000 + 1056 * 40_000


@pytest.mark.parametrize(("model", "nanos"), [("dall-e-3", 40_000_000), ("dall-e-2", 20_000_000)])
def test_images_are_sold_by_the_piece(client, provider, model, nanos):
    answer = client.images.generate(model=model, prompt="A red fox", n=3)
    assert [image.url for image in answer.data] == [answer.data[0].url] * 3
    assert answer.data[0].url.startswith("https://")
    assert answer.usage is None
    bill = provider.bills[0]
    assert (bill.nanos, bill.model, bill.n) == (3 * nanos, model, 3)
    assert (bill.input_tokens, bill.output_tokens) == (0, 0)


def test_images_may_come_as_text_and_without_a_model(client, provider):
    answer = client.images.generate(prompt="A red fox", response_format="b64_json")
    assert base64.b64decode(answer.data[0].b64_json)[:6] == PNG
    assert provider.bills[0].model == "dall-e-2"


@pytest.mark.parametrize(("model", "nanos"), [("tts-1", 15_000), ("tts-1-hd", 30_000)])
def test_speech_is_sold_by_the_character(client, provider, model, nanos):
    seen: list[Incoming] = []
    provider.respond(seen.append)
    first = client.audio.speech.create(model=model, voice="alloy", input="Grüß Gott")
    again = client.audio.speech.create(model=model, voice="alloy", input="Grüß Gott")
    assert first.response.headers["content-type"] == "audio/mp3"
    assert first.content == again.content
    assert first.content.startswith(b"ID3")
    assert [bill.nanos for bill in provider.bills] == [9 * nanos] * 2
    assert (seen[0].api, seen[0].last_text) == ("speech", "Grüß Gott")


def test_speech_read_as_it_comes(client, provider):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello", response_format="wav"
    ) as answer:
        assert b"".join(answer.iter_bytes()).startswith(b"ID3")
        assert answer.headers["content-type"] == "audio/wav"
    assert provider.bill_nanos == 5 * 15_000


def test_transcriptions_are_sold_by_the_recording(client, provider):
    provider.script(Reply("What was said"), Reply("what\nwas said"), Reply("x", usage=False))
    recording = ("talk.mp3", b"\x00\xff\r\n\r--" * 100, "audio/mpeg")
    answer = client.audio.transcriptions.create(model="whisper-1", file=recording, prompt="Names")
    assert answer.text == "What was said"
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 60)
    bill = provider.bills[0]
    assert (bill.nanos, bill.model, bill.output_tokens) == (6_000_000, "whisper-1", 0)
    assert bill.body["file"] == {"filename": "talk.mp3", "bytes": 700}
    assert bill.body["prompt"] == "Names"
    text = client.audio.transcriptions.create(
        model="whisper-1", file=recording, response_format="text"
    )
    assert text == "what\nwas said"
    assert client.audio.transcriptions.create(model="whisper-1", file=recording).usage is None
    assert provider.bill_nanos == 3 * 6_000_000


def test_uploads_must_be_forms_with_a_file(http, provider):
    path = "/v1/audio/transcriptions"
    assert "multipart" in http.post(path, json={}).json()["error"]["message"]
    assert "multipart" in http.post(path, content=b"x").json()["error"]["message"]
    form = {"model": (None, "whisper-1")}
    assert "'file'" in http.post(path, files=form).json()["error"]["message"]
    assert (provider.bill_nanos, [bill.status for bill in provider.bills]) == (0, [400] * 3)


def test_moderations_are_free(client, provider):
    one = client.moderations.create(input="Hello")
    assert [result.flagged for result in one.results] == [False]
    assert one.results[0].categories.self_harm is False
    assert 0 < one.results[0].category_scores.violence < 1
    assert one.model == "omni-moderation-latest"
    two = client.moderations.create(input=["a", "b"], model="omni-moderation-2024-09-26")
    assert len(two.results) == 2
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert len(client.moderations.create(input=parts).results) == 1
    assert client.moderations.create(input="a", model="text-moderation-latest").results
    assert [(bill.nanos, bill.status) for bill in provider.bills] == [(0, 200)] * 4


def test_batches_of_openai_have_a_flat_fee(client, provider):
    batch = client.batches.create(
        input_file_id="file-1",
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"a": "b"},
    )
    assert (batch.object, batch.status, batch.input_file_id) == ("batch", "validating", "file-1")
    assert batch.metadata == {"a": "b"}
    assert batch.expires_at - batch.created_at == 24 * 60 * 60
    assert (provider.bill_nanos, provider.bills[0].model) == (CENT, "batch")


@pytest.mark.parametrize("beta", [False, True])
def test_batches_of_anthropic_have_a_flat_fee(claude, provider, beta):
    asked = {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    resource = claude.beta.messages if beta else claude.messages
    requests = [{"custom_id": name, "params": asked} for name in "ab"]
    batch = resource.batches.create(requests=requests)
    assert (batch.type, batch.processing_status) == ("message_batch", "in_progress")
    assert batch.request_counts.processing == 2
    assert batch.expires_at > batch.created_at
    assert (provider.bill_nanos, provider.bills[0].n) == (CENT, 1)


def test_errors_have_the_shape_of_each_api(client, claude, provider):
    provider.default = Reply("slow down", status=429)
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.batches.create(input_file_id="f", endpoint="/v1/embeddings", completion_window="24h")
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.images.generate(model="dall-e-3", prompt="A red fox")
    with pytest.raises(anthropic.RateLimitError) as limited:
        claude.messages.batches.create(requests=[{"custom_id": "a", "params": {}}])
    assert limited.value.body["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert provider.bill_nanos == 0


def test_a_fee_is_owed_for_a_billed_error_and_a_broken_answer(client, provider):
    provider.script(Reply(status=500, billed=True), Reply(drop_after=0))
    with pytest.raises(openai.InternalServerError):
        client.images.generate(model="dall-e-3", prompt="A red fox")
    with pytest.raises(openai.APIConnectionError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
    assert [bill.nanos for bill in provider.bills] == [40_000_000, 75_000]
    assert provider.bills[1].dropped


def test_a_fee_is_owed_by_a_client_that_did_not_wait(client, provider):
    provider.script(Reply(delay=60))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).images.generate(model="dall-e-3", prompt="A red fox")
    provider.wait_idle()
    assert (provider.bill_nanos, provider.bills[0].aborted) == (40_000_000, True)


def test_what_has_a_fee_is_no_chat_model(client, provider):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="tts-1", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="dall-e-3", voice="alloy", input="Hello")
    assert provider.bill_nanos == 0


def test_azure_deployments(provider):
    with openai.AzureOpenAI(
        azure_endpoint=provider.url,
        azure_deployment="dall-e-3",
        api_key="test",
        api_version="2024-10-21",
    ) as client:
        client.images.generate(prompt="A red fox")
    assert provider.bills[0].path == "/openai/deployments/dall-e-3/images/generations"
    assert provider.bill_nanos == 40_000_000
