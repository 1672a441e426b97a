import json

import pytest
from langchain_openai import ChatOpenAI

from budget_core.testing import Reply, ToolCall

HELLO = [{"role": "user", "content": "Hello there"}]
INPUT = 7


def stream(client, **options):
    return client.chat.completions.create(
        **{"model": "gpt-4o-mini", "messages": HELLO, "stream": True, **options}
    )


def test_each_chunk_is_a_token(client, provider):
    provider.script(Reply("abcdefghij"))
    chunks = list(stream(client, service_tier="priority"))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["abcd", "efgh", "ij", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[0].service_tier == "priority"
    assert provider.bill_nanos == INPUT * 250 + 3 * 1000
    assert provider.bills[0].streamed
    assert not provider.bills[0].aborted


def test_usage_comes_in_an_extra_chunk_when_asked_for(http, provider):
    provider.script(Reply("abcd"))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    body["stream_options"] = {"include_usage": True}
    text = http.post("/v1/chat/completions", json=body).text
    assert text.count('"usage":null') == 2
    last = json.loads(text.split("data: ")[-2])
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (7, 1)
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("options", ["include_usage", [], ["include_usage"], 1, False])
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("chat/completions", {"messages": HELLO}),
        ("completions", {"prompt": "Hi"}),
        ("responses", {"input": "Hi"}),
    ],
)
def test_stream_options_must_be_an_object(http, provider, path, asked, options):
    body = {"model": "gpt-4o", "stream": True, "stream_options": options, **asked}
    answer = http.post(f"/v1/{path}", json=body)
    assert answer.status_code == 400
    assert "'stream_options' must be an object" in answer.json()["error"]["message"]
    assert (provider.bill_nanos, provider.errors) == (0, [])


def test_no_stream_options_are_no_fault(http):
    body = {"model": "gpt-4o", "stream": True, "stream_options": None, "messages": HELLO}
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_usage_may_be_withheld(client, provider):
    provider.script(Reply("abcd", usage=False))
    chunks = list(stream(client, stream_options={"include_usage": True}))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert provider.bill_nanos == INPUT * 150 + 600


def test_an_empty_answer_still_has_a_role(client, provider):
    provider.script(Reply(""))
    (chunk,) = stream(client)
    assert (chunk.choices[0].delta.role, chunk.choices[0].delta.content) == ("assistant", "")
    assert provider.bill_nanos == INPUT * 150


def test_the_cap_ends_a_stream(client, provider):
    provider.script(Reply("abcd" * 50))
    chunks = list(stream(client, max_tokens=4))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "abcd" * 4
    assert chunks[-1].choices[0].finish_reason == "length"
    assert provider.bills[0].output_tokens == 4


def test_more_tokens_than_text_come_as_empty_chunks_and_fewer_for_free(client, provider):
    provider.script(Reply("abcd", output_tokens=3), Reply("abcdefgh", output_tokens=1))
    assert [c.choices[0].delta.content for c in stream(client)] == ["abcd", "", "", None]
    assert [c.choices[0].delta.content for c in stream(client)] == ["abcd", "efgh", None]
    assert [bill.output_tokens for bill in provider.bills] == [3, 1]


def test_choices_are_streamed_side_by_side(client, provider):
    provider.script(Reply("abcdefgh"))
    chunks = list(stream(client, n=2))
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1] * 3
    assert [c.choices[0].delta.role for c in chunks[:3]] == ["assistant", "assistant", None]
    assert provider.bills[0].output_tokens == 4


def test_tool_calls_are_streamed_in_pieces(client, provider):
    calls = [ToolCall("search", {"q": "x"}), ToolCall("add")]
    provider.script(Reply(tool_calls=calls, output_tokens=8))
    chunks = list(stream(client))
    deltas = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
    assert [(d.index, d.function.name, d.function.arguments) for d in deltas] == [
        (0, "search", ""),
        (0, None, '{"q"'),
        (0, None, ': "x'),
        (0, None, '"}'),
        (1, "add", ""),
        (1, None, "{}"),
        (1, None, ""),
        (1, None, ""),
    ]
    assert deltas[0].id == "call_0_0"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_stream_helper_of_the_sdk(client, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]))
    with client.chat.completions.stream(model="gpt-4o", messages=HELLO) as events:
        message = events.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.arguments == '{"q": "x"}'


def test_legacy_completions_stream(client, provider):
    provider.script(Reply("abcdef"))
    chunks = list(
        client.completions.create(
            model="gpt-3.5-turbo-instruct",
            prompt="Hello",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert [c.choices[0].text for c in chunks[:-1]] == ["abcd", "ef", ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 2)


@pytest.mark.parametrize("api", [False, True])
async def test_langchain_reads_text_and_usage(provider, api):
    model = ChatOpenAI(
        model="gpt-4o",
        base_url=provider.openai_url,
        api_key="test",
        use_responses_api=api,
        stream_usage=True,
    )
    provider.default = Reply("abcdefgh", tool_calls=[ToolCall("search", {"q": "x"})])
    whole = await model.ainvoke("Hello")
    parts = None
    async for chunk in model.astream("Hello"):
        parts = chunk if parts is None else parts + chunk
    for message in (whole, parts):
        assert message.text == "abcdefgh"
        assert message.tool_calls[0]["args"] == {"q": "x"}
        assert message.usage_metadata["input_tokens"] == provider.bills[0].input_tokens
        assert message.usage_metadata["output_tokens"] == provider.bills[0].output_tokens
