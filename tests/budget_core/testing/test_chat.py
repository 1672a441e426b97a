import openai
import pytest

from budget_core.testing import Incoming, Reply, ToolCall

HELLO = [{"role": "user", "content": "Hello there"}]  # 4 + 3 tokens
INPUT = 7


def ask(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o-mini", "messages": HELLO, **options})


def test_a_plain_answer_and_its_bill(client, provider):
    provider.script(Reply("Good day"))
    answer = ask(client)
    assert answer.choices[0].message.content == "Good day"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (INPUT, 2)
    assert answer.usage.total_tokens == INPUT + 2
    assert provider.bill_nanos == INPUT * 150 + 2 * 600
    assert provider.bill == pytest.approx(provider.bill_nanos / 1e9)
    bill = provider.bills[0]
    assert (bill.path, bill.model, bill.status) == ("/v1/chat/completions", "gpt-4o-mini", 200)
    assert (bill.n, bill.output_cap, bill.streamed, bill.aborted) == (1, None, False, False)
    assert bill.body["messages"] == HELLO
    assert bill.cost == provider.bill
    assert "authorization" not in bill.headers
    assert bill.headers["content-type"] == "application/json"


def test_scripted_usage_is_billed_as_it_is(client, provider):
    provider.script(
        Reply("ok", input_tokens=1000, output_tokens=300, cached_tokens=400, reasoning_tokens=200)
    )
    usage = ask(client, model="gpt-5.2").usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 300)
    assert usage.prompt_tokens_details.cached_tokens == 400
    assert usage.completion_tokens_details.reasoning_tokens == 200
    assert provider.bill_nanos == 600 * 1750 + 400 * 175 + 300 * 14000


def test_counted_reasoning_is_added_to_what_is_visible(client, provider):
    provider.script(Reply("four", reasoning_tokens=10))
    assert ask(client).usage.completion_tokens == 11


def test_cached_tokens_never_exceed_a_counted_input(client, provider):
    provider.script(Reply("x", cached_tokens=10_000, cache_write_tokens=5))
    assert ask(client).usage.prompt_tokens_details.cached_tokens == INPUT
    assert provider.bills[0].cache_write_tokens == 0


def test_output_tokens_without_text_write_filler(client, provider):
    provider.script(Reply(output_tokens=9, reasoning_tokens=4))
    answer = ask(client)
    assert answer.choices[0].message.content == "tok " * 5
    assert answer.usage.completion_tokens == 9


@pytest.mark.parametrize(
    "cap",
    [
        {"max_tokens": 5},
        {"max_completion_tokens": 5},
        {"max_tokens": 9, "max_completion_tokens": 5},
    ],
)
def test_the_cap_cuts_text_and_bill(client, provider, cap):
    provider.script(Reply("abcd" * 50))
    answer = ask(client, **cap)
    assert answer.choices[0].message.content == "abcd" * 5
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert provider.bills[0].output_cap == 5


def test_the_cap_cuts_scripted_tokens_and_text_that_is_not_ascii(client, provider):
    provider.script(
        Reply("日本語のテキスト", output_tokens=100), Reply("日本語", output_tokens=100)
    )
    answer = ask(client, max_tokens=3)
    assert answer.choices[0].message.content == "日本語"
    assert answer.usage.completion_tokens == 3
    short = ask(client, max_tokens=50)
    assert short.choices[0].message.content == "日本語"
    assert short.usage.completion_tokens == 50
    assert short.choices[0].finish_reason == "length"


def test_reasoning_eats_the_cap_first(client, provider):
    provider.script(Reply("never seen", reasoning_tokens=50))
    answer = ask(client, max_completion_tokens=20)
    assert answer.choices[0].message.content == ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens_details.reasoning_tokens == 20


def test_a_rogue_provider_ignores_the_cap(client, provider):
    provider.script(Reply("abcd" * 50, ignores_cap=True))
    answer = ask(client, max_tokens=5)
    assert answer.usage.completion_tokens == 50
    assert answer.choices[0].finish_reason == "stop"
    assert provider.bill_nanos == INPUT * 150 + 50 * 600


def test_choices_multiply_the_output_only(client, provider):
    provider.script(Reply("abcdefgh", reasoning_tokens=3))
    answer = ask(client, n=3)
    assert [choice.message.content for choice in answer.choices] == ["abcdefgh"] * 3
    assert answer.usage.completion_tokens == 15
    assert answer.usage.completion_tokens_details.reasoning_tokens == 9
    assert provider.bill_nanos == INPUT * 150 + 15 * 600
    assert provider.bills[0].n == 3


def test_tool_calls(client, provider):
    provider.script(
        Reply("hm", tool_calls=[ToolCall("search", {"q": "x"}), ToolCall("add", "[1]", id="me")])
    )
    answer = ask(client)
    message = answer.choices[0].message
    assert message.content == "hm"
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [(c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("search", '{"q": "x"}'),
        ("add", "[1]"),
    ]
    assert message.tool_calls[0].id == "call_0_0"
    assert message.tool_calls[1].id == "me"
    assert answer.usage.completion_tokens == 1 + (1 + 3) + (1 + 1)


def test_the_cap_cuts_the_arguments_of_a_tool_call(client, provider):
    provider.script(Reply(tool_calls=[ToolCall("search", {"q": "long"}), ToolCall("add")]))
    answer = ask(client, max_tokens=3)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.arguments == '{"q": "l'
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content is None


def test_tools_and_schemas_are_input(client, provider):
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
    plain = ask(client).usage.prompt_tokens
    with_tool = ask(client, tools=[tool]).usage.prompt_tokens
    json_mode = ask(client, response_format={"type": "json_object"}).usage.prompt_tokens
    assert with_tool - plain == 21
    assert json_mode > plain


def test_usage_may_be_withheld_and_is_billed(client, provider):
    provider.script(Reply("abcd", usage=False))
    assert ask(client).usage is None
    assert provider.bill_nanos == INPUT * 150 + 600


def test_a_tier_is_granted_where_it_has_a_price(client, provider):
    provider.default = Reply("abcd")
    assert ask(client, model="gpt-5", service_tier="flex").service_tier == "flex"
    assert ask(client, model="gpt-4o", service_tier="flex").service_tier == "default"
    assert ask(client, model="gpt-4o", service_tier="auto").service_tier == "default"
    flex, full, _ = provider.bills
    assert flex.service_tier == "flex"
    assert flex.nanos == INPUT * 625 + 5000
    assert full.nanos == INPUT * 2500 + 10000


def test_a_scripted_tier_wins(client, provider):
    provider.script(Reply("abcd", service_tier="priority"))
    assert ask(client, model="gpt-4o").service_tier == "priority"
    assert provider.bill_nanos == INPUT * 4250 + 17000


def test_part_nanos_are_rounded_up(client, provider):
    provider.script(Reply("x", input_tokens=1, output_tokens=0, cached_tokens=1))
    ask(client, model="gpt-5", service_tier="flex")
    assert provider.bill_nanos == 63


def test_unknown_models_are_refused_for_free(client, provider):
    provider.script(Reply("kept"))
    with pytest.raises(openai.NotFoundError, match="no-such") as caught:
        ask(client, model="no-such")
    assert caught.value.code == "model_not_found"
    assert (provider.bill_nanos, provider.bills[0].status) == (0, 404)
    assert ask(client).choices[0].message.content == "kept"


def test_a_price_makes_a_model_known(client, provider):
    provider.price("mine", input=1, output="2.5", cache_read=0.1, cache_write=3)
    provider.script(Reply("x", input_tokens=10, output_tokens=4, cached_tokens=5))
    ask(client, model="mine")
    assert provider.bill_nanos == 5 * 1000 + 5 * 100 + 4 * 2500
    assert "mine" in [model.id for model in client.models.list()]
    assert provider.requests == 1


def test_the_responder_sees_the_request(client, provider):
    seen: list[Incoming] = []

    def echo(incoming):
        seen.append(incoming)
        return Reply(incoming.last_text.upper())

    provider.respond(echo)
    tool = {"type": "function", "function": {"name": "search"}}
    messages = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    answer = ask(client, messages=messages, tools=[tool], max_tokens=7, n=2)
    assert answer.choices[0].message.content == "AB"
    incoming = seen[0]
    assert incoming.messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "ab"},
    ]
    assert (incoming.api, incoming.model, incoming.index) == ("chat", "gpt-4o-mini", 0)
    assert (incoming.tools, incoming.n, incoming.output_cap) == (("search",), 2, 7)
    assert not incoming.stream
    assert incoming.input_tokens == answer.usage.prompt_tokens


def test_scripted_replies_come_before_the_responder_and_the_default_last(client, provider):
    async def once(incoming):
        return Reply("responder") if incoming.index == 1 else None

    provider.respond(once).script(Reply("script"))
    provider.default = Reply("default")
    texts = [ask(client).choices[0].message.content for _ in range(3)]
    assert texts == ["script", "responder", "default"]


async def test_async_client(provider):
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
        answer = await ask(client)
        assert answer.choices[0].message.content == "Hello from the test provider."


def test_azure_clients_bill_their_deployment(provider):
    with openai.AzureOpenAI(
        azure_endpoint=provider.url,
        azure_deployment="gpt-4o",
        api_key="test",
        api_version="2024-10-21",
    ) as client:
        ask(client, model="whatever")
    assert provider.bills[0].path == "/openai/deployments/gpt-4o/chat/completions"
    assert provider.bills[0].model == "gpt-4o"
    assert "api-key" not in provider.bills[0].headers


def test_legacy_completions(client, provider):
    provider.default = Reply("abcdefgh")
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["Hello", "World!"], n=2, max_tokens=1
    )
    assert [choice.text for choice in answer.choices] == ["abcd"] * 4
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 4)
    assert provider.bill_nanos == 4 * 1500 + 4 * 2000


def test_legacy_completions_know_no_tools(client, provider):
    provider.script(Reply("abcd", tool_calls=[ToolCall("search")]))
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hi")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abcd", "stop")
    assert answer.usage.completion_tokens == 1
