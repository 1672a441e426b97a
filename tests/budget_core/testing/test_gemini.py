import json

import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from budget_core.testing import Incoming, Reply, ToolCall

MODEL = "gemini-2.5-flash"
INPUT = 7  # "Hello there": 4 + 3 tokens
HELLO = [{"role": "user", "parts": [{"text": "Hello there"}]}]


def ask(gemini, *, contents="Hello there", model=MODEL, **config):
    return gemini.models.generate_content(model=model, contents=contents, config=config)


def stream(gemini, **config):
    return gemini.models.generate_content_stream(model=MODEL, contents="Hello there", config=config)


def search(q: str) -> str:
    """Search."""
    return q


def test_a_plain_answer_and_its_bill(gemini, provider):
    provider.script(Reply("Good day"))
    answer = ask(gemini)
    assert answer.text == "Good day"
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.model_version == MODEL
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (INPUT, 2)
    assert (usage.total_token_count, usage.thoughts_token_count) == (INPUT + 2, None)
    assert provider.bill_nanos == INPUT * 300 + 2 * 2500
    bill = provider.bills[0]
    assert (bill.model, bill.status, bill.streamed, bill.output_cap) == (MODEL, 200, False, None)
    assert bill.path.endswith(f"/models/{MODEL}:generateContent")


def test_thoughts_are_beside_the_candidates_and_in_the_total(gemini, provider):
    provider.script(
        Reply("ok", input_tokens=1000, output_tokens=300, cached_tokens=400, reasoning_tokens=200)
    )
    usage = ask(gemini).usage_metadata
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (1000, 400)
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (100, 200)
    assert usage.total_token_count == 1300
    assert provider.bill_nanos == 600 * 300 + 400 * 30 + 300 * 2500


@pytest.mark.parametrize(
    ("size", "nanos"), [(200_000, 1250 * 200_000 + 10_000), (200_001, 2500 * 200_001 + 15_000)]
)
def test_a_long_input_makes_the_whole_request_dearer(gemini, provider, size, nanos):
    provider.script(Reply("x", input_tokens=size, output_tokens=1))
    ask(gemini, model="gemini-2.5-pro")
    assert provider.bill_nanos == nanos


def test_the_cap_cuts_text_and_thoughts_eat_it_first(gemini, provider):
    provider.script(Reply("abcd" * 50, reasoning_tokens=2), Reply("x", reasoning_tokens=50))
    answer = ask(gemini, max_output_tokens=5)
    assert answer.text == "abcd" * 3
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.total_token_count == INPUT + 5
    nothing = ask(gemini, max_output_tokens=5)
    assert nothing.candidates[0].content.parts is None
    assert nothing.usage_metadata.candidates_token_count is None
    assert [(bill.output_cap, bill.output_tokens) for bill in provider.bills] == [(5, 5)] * 2


def test_a_rogue_provider_ignores_the_cap(gemini, provider):
    provider.script(Reply("abcd" * 50, ignores_cap=True))
    assert ask(gemini, max_output_tokens=5).usage_metadata.candidates_token_count == 50
    assert provider.bill_nanos == INPUT * 300 + 50 * 2500


def test_candidates_multiply_the_output_only(gemini, provider):
    provider.script(Reply("abcdefgh", reasoning_tokens=3))
    answer = ask(gemini, candidate_count=3)
    assert [one.content.parts[0].text for one in answer.candidates] == ["abcdefgh"] * 3
    assert [one.index for one in answer.candidates] == [0, 1, 2]
    usage = answer.usage_metadata
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (6, 9)
    assert provider.bill_nanos == INPUT * 300 + 15 * 2500
    assert provider.bills[0].n == 3


def test_function_calls(gemini, provider):
    seen: list[Incoming] = []
    provider.respond(seen.append).script(Reply("hm", tool_calls=[ToolCall("search", {"q": "x"})]))
    off = types.AutomaticFunctionCallingConfig(disable=True)
    answer = ask(gemini, tools=[search], automatic_function_calling=off)
    (call,) = answer.function_calls
    assert (call.name, call.args, call.id) == ("search", {"q": "x"}, "call_0_0")
    assert answer.candidates[0].content.parts[0].text == "hm"
    assert answer.usage_metadata.candidates_token_count == 1 + (1 + 3)
    result = types.Part.from_function_response(name="search", response={"found": "y"})
    ask(gemini, contents=["Hello", answer.candidates[0].content, result])
    assert [message["role"] for message in seen[0].messages] == ["user", "assistant", "tool"]
    assert seen[0].last_text == '{"found":"y"}'


def test_the_sdk_calls_functions_by_itself(gemini, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]), Reply("found"))
    assert ask(gemini, tools=[search]).text == "found"
    assert provider.requests == 2


def test_arguments_cut_by_the_cap_are_none(gemini, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]))
    answer = ask(gemini, max_output_tokens=2)
    assert answer.function_calls[0].args == {}
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_the_responder_sees_the_request(gemini, provider):
    seen: list[Incoming] = []
    provider.respond(seen.append)
    off = types.AutomaticFunctionCallingConfig(disable=True)
    config = {"system_instruction": "Be brief", "max_output_tokens": 9, "candidate_count": 2}
    tools = [search, types.Tool(google_search=types.GoogleSearch())]
    ask(gemini, contents=["a", "b"], tools=tools, automatic_function_calling=off, **config)
    (incoming,) = seen
    assert incoming.messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "ab"},
    ]
    assert (incoming.api, incoming.model, incoming.stream) == ("gemini", MODEL, False)
    assert incoming.tools == ("googleSearch", "search")  # the SDK sorts them so
    assert (incoming.output_cap, incoming.n) == (9, 2)


def test_tools_schemas_and_media_are_input(gemini, provider):
    off = types.AutomaticFunctionCallingConfig(disable=True)
    ask(gemini)
    ask(gemini, tools=[search], automatic_function_calling=off)
    ask(gemini, response_mime_type="application/json", response_schema={"type": "OBJECT"})
    ask(gemini, response_mime_type="application/json", response_json_schema={"type": "object"})
    ask(
        gemini,
        contents=["Hello there", types.Part.from_bytes(data=b"a" * 9000, mime_type="image/png")],
    )
    ask(
        gemini,
        contents=[
            "Hello there",
            types.Part.from_uri(file_uri="gs://b/a.png", mime_type="image/png"),
        ],
    )
    plain, tools, schema, json_schema, data, uri = (bill.input_tokens for bill in provider.bills)
    assert plain == INPUT
    assert tools > INPUT + 20
    assert schema == json_schema == INPUT + 5
    assert data == uri == INPUT + 765


def test_both_spellings_and_single_values_are_read(http, provider):
    seen: list[Incoming] = []
    provider.respond(seen.append)
    body = {
        "contents": {"parts": {"text": "Hello there"}},
        "system_instruction": {"parts": [{"text": "Be brief"}]},
        "generation_config": {"max_output_tokens": 3, "candidate_count": 2},
        "tools": {"function_declarations": {"name": "search"}},
    }
    assert http.post(f"/v1beta/models/{MODEL}:generateContent", json=body).status_code == 200
    (incoming,) = seen
    assert [message["role"] for message in incoming.messages] == ["system", "user"]
    assert (incoming.output_cap, incoming.n, incoming.tools) == (3, 2, ("search",))


def test_signatures_of_thoughts_are_not_counted(http, provider):
    parts = [{"text": "Hello there", "thought": True, "thoughtSignature": "A" * 400}]
    http.post(f"/v1/models/{MODEL}:generateContent", json={"contents": [{"parts": parts}]})
    assert provider.bills[0].input_tokens == INPUT


def test_a_stream_tells_the_usage_so_far_with_every_chunk(gemini, provider):
    provider.script(Reply("abcdefghij", reasoning_tokens=4, cached_tokens=2))
    chunks = list(stream(gemini))
    assert [chunk.text for chunk in chunks] == ["abcd", "efgh", "ij", ""]
    usages = [chunk.usage_metadata for chunk in chunks]
    assert [usage.candidates_token_count for usage in usages] == [1, 2, 3, 3]
    assert [usage.total_token_count for usage in usages] == [INPUT + 4 + n for n in (1, 2, 3, 3)]
    assert {usage.thoughts_token_count for usage in usages} == {4}
    assert {usage.cached_content_token_count for usage in usages} == {2}
    assert [chunk.candidates[0].finish_reason for chunk in chunks] == [None, None, None, "STOP"]
    assert provider.bill_nanos == (INPUT - 2) * 300 + 2 * 30 + 7 * 2500
    assert provider.bills[0].streamed


def test_candidates_and_function_calls_are_streamed(gemini, provider):
    provider.script(Reply("abcd", tool_calls=[ToolCall("search", {"q": "x"})]))
    chunks = list(stream(gemini, candidate_count=2))
    assert [chunk.candidates[0].index for chunk in chunks] == [0, 1] * 3
    assert chunks[2].function_calls[0].args == {"q": "x"}
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks]
    assert counts == [1, 2, 6, 10, 10, 10]
    assert provider.bills[0].output_tokens == 10


def test_the_cap_ends_a_stream(gemini, provider):
    provider.script(Reply("abcd" * 50))
    chunks = list(stream(gemini, max_output_tokens=2))
    assert "".join(chunk.text for chunk in chunks) == "abcdabcd"
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_without_alt_sse_a_stream_is_an_array(http, provider):
    provider.script(Reply("abcdef"))
    path = f"/v1beta/models/{MODEL}:streamGenerateContent"
    answer = http.post(path, json={"contents": HELLO})
    assert answer.headers["content-type"] == "application/json"
    texts = [one["candidates"][0]["content"]["parts"][0]["text"] for one in answer.json()]
    assert texts == ["abcd", "ef", ""]
    events = http.post(path, params={"alt": "sse"}, json={"contents": HELLO})
    assert events.headers["content-type"] == "text/event-stream"
    assert events.text.endswith("}\r\n\r\n")
    assert json.loads(events.text.split("\r\n\r\n")[0].removeprefix("data: "))["candidates"]


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_usage_may_be_withheld_and_is_billed(http, provider, method):
    provider.script(Reply("abcd", usage=False))
    answer = http.post(f"/v1beta/models/{MODEL}:{method}", json={"contents": HELLO})
    assert "abcd" in answer.text
    assert "usageMetadata" not in answer.text
    assert provider.bill_nanos == INPUT * 300 + 2500


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_errors_have_the_shape_of_the_api(gemini, provider, status, name, streamed):
    provider.script(Reply("that went wrong", status=status))
    with pytest.raises(genai.errors.APIError) as caught:
        list(stream(gemini)) if streamed else ask(gemini)
    error = caught.value
    assert (error.code, error.status, error.message) == (status, name, "that went wrong")
    assert (provider.bill_nanos, provider.bills[0].status) == (0, status)


def test_the_sdk_retries_when_told_to(provider):
    retry = types.HttpRetryOptions(attempts=2, initial_delay=0, jitter=0)
    options = types.HttpOptions(base_url=provider.google_url, retry_options=retry)
    provider.script(Reply(status=503), Reply("a"))
    with genai.Client(api_key="test", http_options=options) as client:
        assert ask(client).text == "a"
    assert [bill.status for bill in provider.bills] == [503, 200]


def test_unknown_models_are_refused(gemini, provider):
    with pytest.raises(genai.errors.ClientError) as caught:
        ask(gemini, model="gemini-none")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert provider.bill_nanos == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'contents'"),
        ({"contents": "Hi"}, "content must"),
        ({"contents": [{"parts": ["Hi"]}]}, "part must"),
        ({"contents": HELLO, "generationConfig": []}, ""),
        ({"contents": HELLO, "generationConfig": [1]}, "malformed"),
        ({"contents": HELLO, "generationConfig": {"maxOutputTokens": 0}}, "'maxOutputTokens'"),
        ({"contents": HELLO, "generationConfig": {"candidateCount": -1}}, "'candidateCount'"),
        ({"contents": HELLO, "tools": ["search"]}, "malformed"),
    ],
)
def test_malformed_requests_are_refused_for_free(http, provider, body, said):
    answer = http.post(f"/v1/models/{MODEL}:generateContent", json=body)
    assert answer.status_code == (400 if said else 200)
    if said:
        assert said in answer.json()["error"]["message"]
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
        assert provider.bill_nanos == 0


def test_keys_are_not_kept(http, provider):
    seen: list[Incoming] = []
    provider.respond(seen.append)
    http.post(
        f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse&key=secret&access_token=secret",
        json={"contents": HELLO},
        headers={"x-goog-api-key": "secret"},
    )
    assert "secret" not in repr((seen, provider.bills, provider.bills[0].headers))
    assert seen[0].query == {"alt": "sse"}


@pytest.mark.parametrize("streamed", [False, True])
def test_vertex_clients(provider, streamed):
    options = types.HttpOptions(base_url=provider.google_url)
    with genai.Client(
        vertexai=True,
        project="p",
        location="europe-west1",
        credentials=Credentials("secret"),
        http_options=options,
    ) as client:
        answers = list(stream(client)) if streamed else [ask(client)]
        assert "".join(answer.text for answer in answers) == "Hello from the test provider."
        assert client.models.count_tokens(model=MODEL, contents="Hello there").total_tokens == INPUT
    method = "streamGenerateContent" if streamed else "generateContent"
    place = "/v1beta1/projects/p/locations/europe-west1/publishers/google/models"
    assert provider.bills[0].path == f"{place}/{MODEL}:{method}"
    assert provider.bill_nanos == INPUT * 300 + 8 * 2500


def test_vertex_in_express_mode(provider):
    options = types.HttpOptions(base_url=provider.google_url)
    with genai.Client(vertexai=True, api_key="test", http_options=options) as client:
        ask(client)
    assert provider.bills[0].path.startswith("/v1beta1/publishers/google/models/")
    assert provider.bill_nanos == INPUT * 300 + 8 * 2500


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_versions_of_the_gemini_api(provider, version):
    options = types.HttpOptions(base_url=provider.google_url, api_version=version)
    with genai.Client(api_key="test", http_options=options) as client:
        assert ask(client).text
    assert provider.bills[0].path == f"/{version}/models/{MODEL}:generateContent"


async def test_async_client(provider):
    options = types.HttpOptions(base_url=provider.google_url)
    async with genai.Client(api_key="test", http_options=options).aio as client:
        chunks = await client.models.generate_content_stream(model=MODEL, contents="Hello there")
        text = "".join([chunk.text async for chunk in chunks])
    assert text == "Hello from the test provider."
    assert provider.bill_nanos == INPUT * 300 + 8 * 2500


def test_a_dropped_stream_is_billed_as_far_as_it_came(gemini, provider):
    provider.script(Reply("abcd" * 10, drop_after=3))
    seen = []
    with pytest.raises(Exception, match="incomplete chunked read"):  # noqa: PT012 - the loop raises
        for chunk in stream(gemini):
            seen.append(chunk.text)
    assert seen == ["abcd"] * 3
    assert (provider.bills[0].output_tokens, provider.bills[0].dropped) == (3, True)


def test_counting_tokens_is_free(gemini, http, provider):
    provider.script(Reply(), Reply(input_tokens=500))
    assert gemini.models.count_tokens(model=MODEL, contents="Hello there").total_tokens == INPUT
    assert gemini.models.count_tokens(model=MODEL, contents="Hello there").total_tokens == 500
    request = {"contents": HELLO, "systemInstruction": {"parts": [{"text": "Be brief"}]}}
    body = {"generateContentRequest": {"model": f"models/{MODEL}", **request}}
    counted = http.post(f"/v1beta/models/{MODEL}:countTokens", json=body).json()
    assert counted["totalTokens"] == INPUT + 6
    assert (provider.requests, provider.bill_nanos, provider.bills[1].input_tokens) == (3, 0, 0)


def test_embeddings_are_billed_and_say_nothing_of_it(gemini, provider):
    def embed(contents, **config):
        model = "gemini-embedding-001"
        return gemini.models.embed_content(model=model, contents=contents, config=config)

    answer = embed(["Hello", "World"], output_dimensionality=5)
    first, second = answer.embeddings
    assert len(first.values) == 5
    assert first.values != second.values
    assert answer.usage_metadata is None
    assert embed("Hello", output_dimensionality=5).embeddings == [first]
    assert [bill.input_tokens for bill in provider.bills] == [4, 2]
    assert provider.bill_nanos == 6 * 150


def test_a_single_embedding(http, provider):
    body = {"content": {"parts": [{"text": "Hello"}]}}
    path = "/v1beta/models/gemini-embedding-001:embedContent"
    answer = http.post(path, json=body).json()
    assert len(answer["embedding"]["values"]) == 16
    assert list(answer) == ["embedding"]
    assert provider.bill_nanos == 2 * 150
    assert http.post(path, json={}).json()["error"]["status"] == "INVALID_ARGUMENT"
