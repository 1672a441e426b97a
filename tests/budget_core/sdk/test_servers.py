"""A cap goes on the wire in the parameter that its server heeds; elsewhere the stream is watched."""

import httpx
import openai
import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest
from budget_core.sdk.endpoints import Endpoint
from budget_core.sdk.hosts import UNKNOWN, server_at
from budget_core.sdk.openai import API
from budget_core.sdk.stream_events import CHAT
from budget_core.sdk.streams import StreamMeter
from budget_core.testing import Manners, Reply

SAY = [{"role": "user", "content": "Say hello."}]
LONG = Reply(output_tokens=100_000)


def routed(transport, port):
    """Let a request to any host come here, as if it had been sent to that host."""

    class Here(transport):
        def handle_request(self, request):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
            return super().handle_request(request)

        async def handle_async_request(self, request):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
            return await super().handle_async_request(request)

    return Here()


@pytest.fixture
def at(provider):
    """Make a client of a server that the provider plays."""
    port = int(provider.url.rpartition(":")[2])
    made = []

    def client(host, **options):
        http = httpx.Client(transport=routed(httpx.HTTPTransport, port))
        made.append(http)
        base = options.pop("base_url", f"https://{host}/v1")
        return openai.OpenAI(base_url=base, api_key="k", http_client=http, max_retries=0, **options)

    yield client
    for http in made:
        http.close()


def at_async(provider, host):
    port = int(provider.url.rpartition(":")[2])
    http = httpx.AsyncClient(transport=routed(httpx.AsyncHTTPTransport, port))
    return openai.AsyncOpenAI(
        base_url=f"https://{host}/v1", api_key="k", http_client=http, max_retries=0
    )


IGNORING = Manners(ignores=("max_completion_tokens",))
REFUSING = Manners(refuses={"max_completion_tokens": 422, "stream_options": 422})
SERVERS = {
    "DeepSeek": ("api.deepseek.com", "deepseek-reasoner", (0.55, 2.19, 0.14), IGNORING),
    "Z.ai": ("api.z.ai", "glm-4.6", (0.6, 2.2, 0.11), IGNORING),
    "Moonshot": ("api.moonshot.ai", "kimi-k2-thinking", (0.6, 2.5, 0.15), IGNORING),
    "Together": ("api.together.xyz", "Qwen/Qwen3-235B-A22B-Thinking-2507", (0.65, 3, None), IGNORING),
    "Mistral": ("api.mistral.ai", "magistral-medium-latest", (2, 5, None), REFUSING),
}  # fmt: skip


def sells(provider, server):
    host, model, (before, after, cached), manners = SERVERS[server]
    provider.price(model, input=before, output=after, cache_read=cached)
    provider.manners, provider.default = manners, LONG
    return host, {"model": model, "messages": SAY}


@pytest.mark.parametrize("server", SERVERS)
class TestTheOlderName:
    def test_it_is_what_goes_on_the_wire(self, provider, at, claiming, server):
        host, chat = sells(provider, server)
        with claiming("$0.02", exact=False) as session:
            at(host).chat.completions.create(**chat)
        assert provider.bills[0].output_cap < 100_000
        assert provider.bill_nanos <= 20_000_000
        assert session.report()["overage"] == 0

    def test_of_a_stream_too(self, provider, at, claiming, server):
        host, chat = sells(provider, server)
        with claiming("$0.02", exact=False, books=server not in ("Mistral", "Together")):
            list(at(host).chat.completions.create(**chat, stream=True))
        assert provider.bills[0].output_cap < 100_000
        assert provider.bill_nanos <= 20_000_000

    async def test_async(self, provider, claiming, server):
        host, chat = sells(provider, server)
        with claiming("$0.02", exact=False):
            async with at_async(provider, host) as client:
                await client.chat.completions.create(**chat)
        assert provider.bill_nanos <= 20_000_000


@pytest.mark.parametrize("server", ["DeepSeek", "Z.ai", "Moonshot"])
def test_a_caller_s_cap_that_the_server_ignores_is_sent_in_the_one_that_it_heeds(
    provider, at, claiming, server
):
    host, chat = sells(provider, server)
    with claiming("$5", exact=False):
        at(host).chat.completions.create(**chat, max_completion_tokens=500)
    assert provider.bills[0].body["max_tokens"] == 500
    assert provider.bills[0].output_tokens == 500


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_caller_s_cap_that_the_server_heeds_is_left_as_it_is(provider, at, claiming, name):
    with claiming("$5"):
        at("api.openai.com").chat.completions.create(model="gpt-4o", messages=SAY, **{name: 500})
    sent = provider.bills[0].body
    assert {key: sent[key] for key in sent if key.startswith("max_")} == {name: 500}


PREDICTING = Manners(refuses={"max_completion_tokens+prediction": 400})
FORETOLD = {"prediction": {"type": "content", "content": "Hello there. " * 40}}


class TestBesideAPrediction:
    @pytest.mark.parametrize("host", ["api.openai.com", "mine.openai.azure.com"])
    def test_openai_takes_the_older_name_alone(self, provider, at, claiming, host):
        provider.manners, provider.default = PREDICTING, LONG
        with claiming("$0.02", exact=False):
            at(host).chat.completions.create(model="gpt-4o", messages=SAY, **FORETOLD)
        assert provider.bills[0].body["max_tokens"] < 100_000
        assert provider.bill_nanos <= 20_000_000

    def test_what_is_rejected_of_it_is_held_beside_the_cap(self):
        endpoint = API.endpoints["/chat/completions"]
        body = {"model": "gpt-4o", "messages": SAY, **FORETOLD}
        assert endpoint.read(body, UNKNOWN).beside >= len(FORETOLD["prediction"]["content"])
        assert endpoint.read({"model": "gpt-4o", "messages": SAY}, UNKNOWN).beside == 0

    def test_it_is_held_at_the_price_of_output(self):
        request = CallRequest(model="gpt-4o", input_tokens=0, output_cap=100)
        with AgentBudget("$5").session() as session:
            plain = session.open_call(request).reservation.amounts
            beside = session.open_call(request._replace(beside=300)).reservation.amounts
        assert (beside.usd - plain.usd, beside.tokens - plain.tokens) == (300 * 10_000, 300)


def cap_name(host, model, **body):
    endpoint, server = API.endpoints["/chat/completions"], server_at(host)
    capped = endpoint.capped({"model": model, "messages": SAY, **body}, 100, server)
    return {key for key in capped if key.startswith("max_")}, endpoint.binds(capped, server)


@pytest.mark.parametrize(
    ("host", "model", "name", "binds"),
    [
        ("api.openai.com", "gpt-4o", "max_completion_tokens", True),
        ("eu.api.openai.com", "o3", "max_completion_tokens", True),
        ("mine.openai.azure.com", "my-deployment", "max_completion_tokens", True),
        ("mine.services.ai.azure.com", "DeepSeek-R1", "max_tokens", True),
        ("api.groq.com", "openai/gpt-oss-120b", "max_completion_tokens", True),
        ("openrouter.ai", "deepseek/deepseek-r1", "max_tokens", True),
        ("api.x.ai", "grok-4", "max_completion_tokens", False),
        ("api.x.ai", "grok-3", "max_completion_tokens", True),
        ("127.0.0.1", "deepseek-reasoner", "max_tokens", False),
        ("127.0.0.1", "gpt-5", "max_completion_tokens", False),
        ("127.0.0.1", "openai/o3", "max_completion_tokens", False),
        ("127.0.0.1", "gpt-4o", "max_tokens", False),
        ("127.0.0.1", "claude-sonnet-4-5", "max_tokens", False),
    ],
)
def test_who_serves_tells_the_name(host, model, name, binds):
    assert cap_name(host, model) == ({name}, binds)


def test_the_caps_of_apis_that_have_one_bind_everywhere():
    responses = API.endpoints["/responses"]
    assert isinstance(responses, Endpoint)
    assert responses.binds({"model": "gpt-5"}, UNKNOWN)
    assert not responses.binds({"model": "grok-4"}, server_at("api.x.ai"))


class TestAServerThatIsNotKnown:
    """It may ignore both: then the answer is metered, stopped, and what came to more is told."""

    @pytest.fixture(autouse=True)
    def _ignores_all(self, provider):
        provider.manners = Manners(ignores=("max_tokens", "max_completion_tokens"))
        provider.default = LONG

    def test_a_stream_is_stopped_when_the_money_is_gone(self, provider, at, claiming):
        with claiming("$0.02", exact=False, books=False) as session:
            stream = at("llm.example.org").chat.completions.create(
                model="gpt-4o", messages=SAY, stream=True
            )
            with pytest.raises(BudgetExhausted):
                list(stream)
        assert provider.bills[0].output_tokens < 50_000  # it noticed later, but noticed
        assert provider.bills[0].body["max_tokens"] < 5_000
        assert session.spent_nanos >= 19_000_000

    @pytest.mark.parametrize(
        "delta",
        [
            {"content": "salt " * 1_600},
            {"reasoning_content": "salt " * 1_600},
            {"tool_calls": [{"index": 0, "function": {"arguments": "salt " * 1_600}}]},
        ],
        ids=["text", "thoughts", "arguments"],
    )
    def test_a_large_piece_counts_as_much_as_words_go(self, delta):
        request = CallRequest(model="gpt-4o", input_tokens=0, output_cap=500)
        with AgentBudget("$0.006").session() as session, session.open_call(request) as call:
            call.wired = False
            meter = StreamMeter(call, CHAT)
            with pytest.raises(BudgetExhausted):  # 8,000 letters are 1,000 tokens at least: $0.01
                meter.note({"choices": [{"delta": delta}]})

    def test_where_the_cap_holds_a_piece_is_a_token(self):
        request = CallRequest(model="gpt-4o", input_tokens=0, output_cap=500)
        with AgentBudget("$0.006").session() as session, session.open_call(request) as call:
            StreamMeter(call, CHAT).note({"choices": [{"delta": {"content": "salt " * 1_600}}]})

    def test_an_answer_that_is_longer_is_charged_in_full_and_told(self, provider, at, claiming):
        with claiming("$0.02") as session:
            at("llm.example.org").chat.completions.create(model="gpt-4o", messages=SAY)
        assert session.spent_nanos > 1_000_000_000
        assert session.report()["overage"] > 0.9

    def test_there_is_money_for_more_than_was_held(self, provider, at, claiming):
        provider.default = Reply(output_tokens=5_000)
        with claiming("$5", exact=False):
            stream = at("llm.example.org").chat.completions.create(
                model="gpt-4o", messages=SAY, max_tokens=50, stream=True
            )
            assert sum(len(chunk.choices) for chunk in stream) > 5_000


class TestXai:
    """Its caps do not bound what a model thinks: recorded answers are up to 34 times as long."""

    def test_the_model_s_maximum_is_held(self, provider, at, claiming):
        provider.price("grok-4", input=3, output=15, cache_read=0.75)
        with claiming("$5", exact=False) as session:  # of which a share is less
            provider.respond(lambda _: held.append(session.reserved) or Reply("Hi"))
            held = []
            at("api.x.ai").chat.completions.create(
                model="grok-4", messages=SAY, max_completion_tokens=100
            )
        assert held[0] >= 256_000 * 15 / 1e6
        assert provider.bills[0].body["max_completion_tokens"] == 100

    def test_a_stream_is_not_stopped_at_the_cap(self, provider, at, claiming):
        provider.price("grok-4", input=3, output=15, cache_read=0.75)
        provider.default = Reply(output_tokens=3_400, ignores_cap=True)
        with claiming("$20", exact=False):
            stream = at("api.x.ai").chat.completions.create(
                model="grok-4", messages=SAY, max_completion_tokens=100, stream=True
            )
            assert sum(len(chunk.choices) for chunk in stream) >= 3_400


class TestMistral:
    def test_it_is_not_asked_for_the_usage_that_it_tells(self, provider, at, claiming):
        host, chat = sells(provider, "Mistral")
        provider.default = Reply("Hello")
        with claiming("$5", exact=False, books=False):
            list(at(host).chat.completions.create(**chat, stream=True))
        assert "stream_options" not in provider.bills[0].body


def test_only_openai_has_a_cap_where_completions_ask_for_none():
    endpoint = API.endpoints["/completions"]
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"}
    assert endpoint.read(body, server_at("api.openai.com")).output_cap == 16
    assert endpoint.read(body, server_at("api.together.xyz")).output_cap is None
    assert endpoint.read(body, None).output_cap is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("api.openai.com", None),
        ("eu.api.openai.com", "eu"),
        ("us.api.openai.com", "us"),
        ("generativelanguage.googleapis.com", None),
        ("aiplatform.googleapis.com", None),
        ("us-east5-aiplatform.googleapis.com", "us-east5"),
        ("aiplatform.eu.rep.googleapis.com", "eu"),
        ("eu.api.openai.com.evil.org", None),
    ],
)
def test_a_host_names_its_region(host, region):
    assert server_at(host).region == region


@pytest.mark.parametrize(
    ("host", "nanos"), [("api.openai.com", 17_500_000), ("eu.api.openai.com", 19_250_000)]
)
def test_a_regional_host_costs_more(provider, at, claiming, host, nanos):
    provider.price("gpt-5.4", input=2.5, output=15, cache_read=0.25)
    provider.script(Reply("Hello", input_tokens=1_000, output_tokens=1_000))
    with claiming("$5", exact=False) as session:
        at(host).chat.completions.create(model="gpt-5.4", messages=SAY)
    assert session.spent_nanos == nanos
