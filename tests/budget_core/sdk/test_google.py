"""Every way to call the google-genai SDK is held before and settled after, to the nano."""

import asyncio
import contextlib
import gc
import inspect
import threading

import pydantic
import pytest
from google import genai
from google.genai import _api_client, errors, types

from budget_core import (
    AgentBudget,
    BudgetExhausted,
    CallRequest,
    LoopDetected,
    Prompt,
    Unbounded,
    UnknownModel,
    wrap_client,
)
from budget_core.calls import context
from budget_core.errors import GuardError
from budget_core.sdk.google.api import API
from budget_core.sdk.google.guard import GUARD as guard
from budget_core.sdk.hosts import provider_at
from budget_core.testing import Reply, ToolCall

# the SDK's own, where aiohttp is installed: it then sends what is asynchronous
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")

MODEL = "gemini-2.5-flash"
RETRIES = types.HttpRetryOptions(attempts=3, initial_delay=0.001, max_delay=0.001, jitter=0.001)
OLD = genai.__version__.startswith("1.")
POOR = "$0.0000001"
NO_AFC = types.AutomaticFunctionCallingConfig(disable=True)


class Answer(pydantic.BaseModel):
    city: str


def search(q: str) -> str:
    """Search the web."""
    return f"found {q}"


def options(provider, **more):
    return types.HttpOptions(base_url=provider.google_url, **more)


@pytest.fixture(autouse=True)
def _google_guarded(_guarded):
    """`installing.GuardLease` does it, as the SDK is imported; a guard that is not there fails right here."""
    assert guard._patches.active


@contextlib.asynccontextmanager
async def opened(http_options, **more):
    """Open a client, and close its connections of both kinds."""
    with genai.Client(api_key="test", http_options=http_options, **more) as client:
        async with client.aio:
            yield client


@pytest.fixture
async def client(provider):
    async with opened(options(provider)) as client:
        yield client


@pytest.fixture
async def retrying(provider):
    async with opened(options(provider, retry_options=RETRIES)) as client:
        yield client


def ask(client, contents="Say hello.", model=MODEL, **config):
    return client.models.generate_content(model=model, contents=contents, config=config or None)


def ask_stream(client, contents="Say hello.", model=MODEL, **config):
    return client.models.generate_content_stream(
        model=model, contents=contents, config=config or None
    )


def generate(client):
    assert ask(client).text


def stream(client):
    assert list(ask_stream(client))


def chat(client):
    assert client.chats.create(model=MODEL).send_message("Say hello.").text


def chat_stream(client):
    assert list(client.chats.create(model=MODEL).send_message_stream("Say hello."))


def several(client):
    assert len(ask(client, candidate_count=3).candidates) == 3


def system(client):
    ask(client, system_instruction="Be brief.", temperature=0.1)


def declared(client):
    ask(client, tools=[search], automatic_function_calling=NO_AFC)


def parsed(client):
    ask(client, response_mime_type="application/json", response_schema=Answer)


def image(client):
    picture = types.Part.from_bytes(data=b"a" * 900, mime_type="image/png")
    ask(client, contents=["What is this?", picture])


def thinking(client):
    ask(client, thinking_config=types.ThinkingConfig(thinking_budget=600))


def extra_body(client):
    ask(client, http_options={"extra_body": {"generationConfig": {"maxOutputTokens": 7}}})


def raw(client):
    body = {"contents": [{"parts": [{"text": "Say hello."}]}]}
    client._api_client.request("post", f"models/{MODEL}:generateContent", body)


WAYS = [
    generate, stream, chat, chat_stream, several, system, declared, parsed, image, thinking,
    extra_body, raw,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
class TestEveryWay:
    def test_is_charged_what_the_provider_bills(self, provider, client, claiming, way):
        with claiming() as session:
            way(client)
        assert provider.requests == 1
        assert session.spent_nanos > 0

    def test_sends_nothing_when_it_does_not_fit(self, provider, client, claiming, way):
        with claiming(POOR), pytest.raises(BudgetExhausted):
            way(client)
        assert provider.requests == 0

    def test_is_untouched_without_a_session(self, provider, client, way):
        way(client)
        assert provider.bills[0].output_cap in {None, 7}


async def a_generate(client):
    assert (await client.models.generate_content(model=MODEL, contents="Say hello.")).text


async def a_stream(client):
    chunks = await client.models.generate_content_stream(model=MODEL, contents="Say hello.")
    assert [chunk async for chunk in chunks]


async def a_chat(client):
    assert (await client.chats.create(model=MODEL).send_message("Say hello.")).text


async def a_chat_stream(client):
    chunks = await client.chats.create(model=MODEL).send_message_stream("Say hello.")
    assert [chunk async for chunk in chunks]


ASYNC_WAYS = [a_generate, a_stream, a_chat, a_chat_stream]


@pytest.mark.parametrize("way", ASYNC_WAYS, ids=lambda way: way.__name__)
class TestEveryAsyncWay:
    async def test_is_charged_what_the_provider_bills(self, provider, client, claiming, way):
        with claiming() as session:
            await way(client.aio)
        assert provider.requests == 1
        assert session.spent_nanos > 0

    async def test_sends_nothing_when_it_does_not_fit(self, provider, client, claiming, way):
        with claiming(POOR), pytest.raises(BudgetExhausted):
            await way(client.aio)
        assert provider.requests == 0

    async def test_is_untouched_without_a_session(self, provider, client, way):
        await way(client.aio)
        assert provider.bills[0].output_cap is None


class TestEmbeddings:
    """Their response tells no usage, so that the whole hold is charged."""

    def embed(self, client):
        return client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])

    def test_the_hold_is_charged(self, provider, client, claiming):
        with claiming(exact=False) as session:
            assert len(self.embed(client).embeddings) == 2
        assert 0 < provider.bill_nanos < session.spent_nanos < 1_000_000

    async def test_async(self, provider, client, claiming):
        with claiming(exact=False) as session:
            await self.embed(client.aio)
        assert 0 < provider.bill_nanos < session.spent_nanos

    def test_one_content(self, provider, client, claiming):
        body = {"content": {"parts": [{"text": "one"}]}}
        with claiming(exact=False) as session:
            client._api_client.request("post", "models/gemini-embedding-001:embedContent", body)
        assert 0 < provider.bill_nanos < session.spent_nanos

    def test_sends_nothing_when_it_does_not_fit(self, provider, client, claiming):
        with claiming(POOR), pytest.raises(BudgetExhausted):
            self.embed(client)
        assert provider.requests == 0

    def test_a_provider_that_tells_is_believed(self, provider, client, claiming, monkeypatch):
        told = '{"embeddings": [{"values": [1]}], "usageMetadata": {"promptTokenCount": 4}}'
        monkeypatch.setattr(
            _api_client.HttpResponse, "json", property(lambda _: __import__("json").loads(told))
        )
        with claiming(books=False) as session:
            self.embed(client)
        assert session.spent_nanos == 4 * 150


class TestFunctionCalling:
    CALL = Reply(tool_calls=[ToolCall("search", {"q": "x"})])

    def test_every_request_of_it_is_held(self, provider, client, claiming):
        provider.script(self.CALL, Reply("done"))
        with claiming() as session:
            assert ask(client, tools=[search]).text == "done"
        assert provider.requests == 2
        assert session.report()["breakdown"]["llm"]["calls"] == 2

    @pytest.mark.skipif(OLD, reason="its last chunk, without a call, ends the calling")
    def test_so_it_is_in_a_stream(self, provider, client, claiming):
        provider.script(self.CALL, Reply("done"))
        with claiming():
            text = "".join(chunk.text or "" for chunk in ask_stream(client, tools=[search]))
        assert text.endswith("done")
        assert provider.requests == 2

    async def test_and_in_a_chat(self, provider, client, claiming):
        provider.script(self.CALL, Reply("done"))
        chat = client.aio.chats.create(model=MODEL, config={"tools": [search]})
        with claiming():
            assert (await chat.send_message("Say hello.")).text == "done"
        assert provider.requests == 2

    def test_it_ends_where_the_next_request_does_not_fit(self, provider, client, claiming):
        def long(q: str) -> str:
            """Search the web."""
            return "word " * 20_000

        provider.script(Reply(tool_calls=[ToolCall("long", {"q": "x"})]))
        with claiming("$0.02"), pytest.raises(BudgetExhausted):
            ask(client, tools=[long])
        assert provider.requests == 1


class TestUsage:
    def test_thoughts_and_cached_tokens_have_their_prices(self, provider, client, claiming):
        provider.script(Reply(input_tokens=900, cached_tokens=800, output_tokens=60))
        provider.script(Reply("hm", reasoning_tokens=300), Reply("hm", reasoning_tokens=300))
        with claiming() as session:
            generate(client)
            generate(client)
            stream(client)
        tokens = session.report()["breakdown"]["tokens"]
        assert (tokens["cache_read"], tokens["reasoning"]) == (800, 600)

    def test_a_long_input_has_its_price(self, provider, client, claiming):
        provider.script(Reply("x", input_tokens=200_001, output_tokens=1))
        with claiming():
            ask(client, model="gemini-2.5-pro", contents="x" * 210_000)

    def test_an_answer_without_usage_costs_the_hold(self, provider, client, claiming):
        provider.script(Reply("silent", usage=False), Reply("silent", usage=False))
        with claiming(exact=False) as session:
            generate(client)
            stream(client)
        assert session.spent_nanos > 100 * provider.bill_nanos

    def test_a_wrapped_response_is_charged_once(self, client, claiming):
        with claiming() as session:
            answer = ask(client)
            assert session.wrap(answer) is answer
            assert "_budget_settled" not in answer.model_dump_json()

    def test_a_wrapped_stream_is_charged_once(self, client, claiming):
        with claiming() as session:
            assert list(session.wrap(ask_stream(client)))

    def test_tokens_are_counted_for_free(self, provider, client, claiming):
        with claiming(POOR) as session:
            assert client.models.count_tokens(model=MODEL, contents="Hello").total_tokens > 0
        assert session.spent_nanos == 0
        assert provider.requests == 1


class TestCap:
    def test_an_uncapped_answer_is_cut_on_the_wire(self, provider, client, claiming):
        provider.script(Reply(output_tokens=30_000), Reply(output_tokens=30_000))
        with claiming("$0.02") as session:
            assert ask(client).candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
        assert session.spent_nanos == provider.bill_nanos <= 20_000_000
        assert session.spent_nanos > 5_000_000

    def test_a_stream_is_cut_as_well(self, provider, client, claiming):
        provider.script(Reply(output_tokens=1_000))
        with claiming("$0.0015"):
            *_, last = ask_stream(client)
        assert last.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
        assert 1_000_000 < provider.bill_nanos <= 1_500_000

    def test_the_callers_own_cap_is_never_raised(self, provider, client, claiming):
        with claiming():
            ask(client, max_output_tokens=5)
            list(ask_stream(client, max_output_tokens=6))
        assert [bill.output_cap for bill in provider.bills] == [5, 6]

    def test_the_callers_own_cap_is_held_exactly(self, provider, client, claiming):
        provider.script(Reply("x", usage=False))
        with claiming(exact=False) as session:
            ask(client, max_output_tokens=1_000)
        assert 1_000 * 2_500 < session.spent_nanos < 1_000 * 2_500 + 2_000 * 300

    def test_a_callers_cap_is_lowered(self, provider, client, claiming):
        with claiming("$0.02"):
            ask(client, max_output_tokens=60_000, temperature=0.5)
        config = provider.bills[0].body["generationConfig"]
        assert 256 <= config["maxOutputTokens"] < 8_000
        assert config["temperature"] == 0.5

    def test_an_answer_that_fits_whole_is_not_capped(self, provider, client, claiming):
        with claiming("$100"):
            generate(client)
        assert provider.bills[0].output_cap is None

    def test_either_spelling_is_understood(self, provider, client, claiming):
        contents = [{"parts": [{"text": "Say hello."}]}]
        config = {"max_output_tokens": 9, "candidate_count": 2}
        body = {"contents": contents, "generation_config": config}
        provider.script(Reply("x", usage=False))
        with claiming(exact=False) as session:
            client._api_client.request("post", f"models/{MODEL}:generateContent", body)
        assert (provider.bills[0].output_cap, provider.bills[0].n) == (9, 2)
        assert 2 * 9 * 2_500 < session.spent_nanos < 2 * 9 * 2_500 + 2_000 * 300

    def test_all_candidates_are_held(self, provider, client, claiming):
        provider.script(Reply(output_tokens=9_000))
        with claiming("$0.02"):
            ask(client, candidate_count=3)
        assert provider.bill_nanos <= 20_000_000

    def test_what_is_sent_again_is_as_it_was(self, client, claiming):
        body = {"contents": [{"parts": [{"text": "?"}]}], "generationConfig": {"temperature": 1}}
        request = client._api_client._build_request("post", f"models/{MODEL}:generateContent", body)
        data = request.data
        with claiming("$0.02"):
            client._api_client._request_once(request, False)
        assert request.data is data
        assert data["generationConfig"] == {"temperature": 1}

    def test_a_cap_leaves_an_answer_room_beside_its_thoughts(self, provider, client, claiming):
        with claiming("$0.01"):
            ask(client, thinking_config={"thinking_budget": 20_000})
        config = provider.bills[0].body["generationConfig"]
        assert config["thinkingConfig"]["thinkingBudget"] == config["maxOutputTokens"] - 256

    @pytest.mark.parametrize("budget", [-1, 0, 100, 999])
    def test_thoughts_below_the_cap_are_left_alone(self, provider, client, claiming, budget):
        with claiming():
            ask(client, max_output_tokens=1_000, thinking_config={"thinking_budget": budget})
        config = provider.bills[0].body["generationConfig"]
        assert config["thinkingConfig"]["thinkingBudget"] == budget

    def test_thoughts_that_find_no_room_are_not_sent(self, provider, client, claiming):
        with claiming("$0.0021"):
            generate(client)
            with pytest.raises(BudgetExhausted):
                ask(client, "More.", thinking_config={"thinking_budget": 20_000})
        assert provider.requests == 1

    def test_a_provider_that_ignores_the_cap_is_cut_off(self, provider, client, claiming):
        provider.script(Reply(output_tokens=6_000, ignores_cap=True, chunk_delay=0.001))
        with claiming("$0.0011", exact=False), pytest.raises(BudgetExhausted, match="outgrew"):
            list(ask_stream(client))
        assert provider.bills[0].aborted

    async def test_so_it_is_for_tasks(self, provider, client, claiming):
        provider.script(Reply(output_tokens=6_000, ignores_cap=True, chunk_delay=0.001))
        with claiming("$0.0011", exact=False) as session:
            with pytest.raises(BudgetExhausted, match="outgrew"):
                async for _ in await ask_stream(client.aio):
                    pass
            await settled(session, provider)
        assert provider.bills[0].aborted


class TestRetries:
    REPLIES = (Reply(status=429), Reply(status=500), Reply("there"))

    def test_each_attempt_has_its_own_hold(self, provider, retrying, claiming):
        provider.script(*self.REPLIES)
        with claiming() as session:
            assert ask(retrying).text == "there"
        assert provider.requests == 3
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    async def test_async(self, provider, retrying, claiming):
        provider.script(*self.REPLIES)
        with claiming() as session:
            assert (await ask(retrying.aio)).text == "there"
        assert provider.requests == 3
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_so_it_is_before_a_stream(self, provider, retrying, claiming):
        provider.script(*self.REPLIES)
        with claiming():
            assert list(ask_stream(retrying))
        assert provider.requests == 3

    def test_retries_are_no_loop(self, provider, retrying, claiming):
        provider.script(*self.REPLIES)
        with claiming(max_repeated_calls=2) as session:
            assert ask(retrying).text == "there"
        assert session.terminated_by is None

    def test_a_refused_request_is_free(self, provider, client, claiming):
        provider.script(Reply(status=400), Reply(status=400))
        with claiming() as session:
            for call in (generate, stream):
                with pytest.raises(errors.ClientError):
                    call(client)
        assert session.spent_nanos == 0

    def test_a_gateway_timeout_may_have_been_billed(self, provider, retrying, claiming):
        provider.script(Reply(status=504, billed=True), Reply("there"))
        with claiming(exact=False) as session:
            assert ask(retrying).text == "there"
        assert session.report()["breakdown"]["llm"]["calls"] == 2

    def test_a_timed_out_attempt_stays_charged(self, provider, client, claiming):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate))
        with claiming(exact=False) as session:
            with pytest.raises(Exception, match="timed out"):
                ask(client, http_options={"timeout": 300})
            gate.set()
        assert session.spent_nanos > 0

    def test_a_retry_that_does_not_fit_is_refused(self, provider, retrying, claiming):
        provider.script(Reply(status=504, billed=True), Reply("there"))
        with claiming("$0.001", exact=False), pytest.raises(BudgetExhausted):
            ask(retrying)
        assert provider.requests == 1

    async def test_what_never_left_is_free(self, claiming):
        async with opened(types.HttpOptions(base_url="http://127.0.0.1:9")) as nowhere:
            with claiming() as session:
                for call in (generate, stream):
                    with pytest.raises(Exception, match=r"[Cc]onnect"):
                        call(nowhere)
                with pytest.raises(Exception, match=r"[Cc]onnect"):
                    await ask(nowhere.aio)
        assert session.spent_nanos == 0

    def test_a_body_that_cannot_be_built_was_never_sent(self, provider, client, claiming):
        body = {"contents": [{"parts": [{"text": object()}]}]}
        with claiming() as session, pytest.raises(TypeError):
            client._api_client.request("post", f"models/{MODEL}:generateContent", body)
        assert (session.spent_nanos, provider.requests) == (0, 0)

    def test_a_broken_connection_after_the_work_is_charged(self, provider, client, claiming):
        provider.script(Reply("lost", drop_after=0))
        with claiming(exact=False), pytest.raises(Exception, match=r"disconnected|closed"):
            ask(client)
        assert provider.bill_nanos > 0

    async def test_a_cancelled_request_is_charged(self, provider, client, claiming):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate))
        with claiming(exact=False) as session:
            task = asyncio.create_task(ask(client.aio))
            await asyncio.to_thread(provider.wait_for_requests, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
        assert session.spent_nanos > 0


async def settled(session, provider):
    """Let the loop run: asynchronous generators that are given up end in its time."""
    async with asyncio.timeout(10):
        while session.reserved:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0)
    await asyncio.to_thread(provider.wait_idle)


class TestStreams:
    SLOW = Reply(output_tokens=500, chunk_delay=0.01)

    def test_a_dropped_connection_is_charged_in_full(self, provider, client, claiming):
        provider.script(Reply("one two three four five six", drop_after=3))
        with (
            claiming(exact=False) as session,
            pytest.raises(Exception, match=r"incomplete|not completed"),
        ):
            stream(client)
        assert session.spent_nanos > 10 * provider.bill_nanos > 0

    async def test_so_it_is_in_a_task(self, provider, client, claiming):
        provider.script(Reply("one two three four five six", drop_after=3))
        with (
            claiming(exact=False) as session,
            pytest.raises(Exception, match=r"incomplete|not completed"),
        ):
            await a_stream(client.aio)
        assert session.spent_nanos > 10 * provider.bill_nanos > 0

    def test_a_break_charges_the_hold_and_ends_the_work(self, provider, client, claiming):
        provider.script(self.SLOW)
        with claiming(exact=False) as session:
            for _ in ask_stream(client):
                break
            assert session.reserved == 0
        assert provider.bills[0].aborted

    def test_so_does_closing(self, provider, client, claiming):
        provider.script(self.SLOW)
        with claiming(exact=False) as session:
            with contextlib.closing(ask_stream(client)) as chunks:
                next(chunks)
            assert session.reserved == 0
        assert provider.bills[0].aborted

    def test_a_stream_that_nobody_begins_sends_nothing(self, provider, client, claiming):
        with claiming() as session:
            ask_stream(client)
        assert (session.spent_nanos, provider.requests) == (0, 0)

    async def test_a_break_in_a_task(self, provider, client, claiming):
        provider.script(self.SLOW)
        with claiming(exact=False) as session:
            async for _ in await ask_stream(client.aio):
                break
            await settled(session, provider)
        assert session.spent_nanos > 0
        assert provider.bills[0].aborted

    async def test_closing_in_a_task(self, provider, client, claiming):
        provider.script(self.SLOW)
        with claiming(exact=False) as session:
            async with contextlib.aclosing(await ask_stream(client.aio)) as chunks:
                await anext(chunks)
            await settled(session, provider)
        assert session.spent_nanos > 0
        assert provider.bills[0].aborted

    async def test_a_stream_that_no_task_reads_is_charged_if_it_was_sent(
        self, provider, client, claiming
    ):
        with claiming(exact=False) as session:
            await ask_stream(client.aio)
            await settled(session, provider)
            assert (session.spent_nanos > 0) == (provider.requests > 0)

    def test_a_response_that_nobody_reads_is_charged(self, provider, client, claiming):
        body = {"contents": [{"parts": [{"text": "?"}]}]}
        path = f"models/{MODEL}:streamGenerateContent?alt=sse"
        request = client._api_client._build_request("post", path, body)
        with claiming(exact=False) as session:
            client._api_client._request_once(request, True)
            gc.collect()
            assert session.reserved == 0
            assert session.spent_nanos > 0

    async def test_a_cancelled_stream_is_charged(self, provider, client, claiming):
        async def read():
            async for _ in await ask_stream(client.aio):
                begun.set()

        begun = asyncio.Event()
        provider.script(self.SLOW)
        with claiming(exact=False) as session:
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
            await settled(session, provider)
        assert session.spent_nanos > 0

    def test_function_calls_pass(self, provider, client, claiming):
        provider.script(Reply(tool_calls=[ToolCall("search", {"q": "x"})]))
        with claiming():
            chunks = list(ask_stream(client, tools=[search], automatic_function_calling=NO_AFC))
        assert [call.name for chunk in chunks for call in chunk.function_calls or ()] == ["search"]


class TestRefusals:
    def test_an_unknown_model(self, provider, client, claiming):
        with claiming(), pytest.raises(UnknownModel, match="register_model"):
            ask(client, model="gemini-99-ultra")
        assert provider.requests == 0

    def test_a_tuned_model_has_its_own_name(self, provider, client, claiming):
        with claiming(), pytest.raises(UnknownModel, match="tunedModels/mine"):
            ask(client, model="tunedModels/mine")
        assert provider.requests == 0

    @pytest.mark.parametrize(
        "tool",
        ["googleSearch", "google_search", "googleSearchRetrieval", "urlContext", "url_context",
         "codeExecution", "googleMaps", "fileSearch", "file_search", "anythingNew"],
    )  # fmt: skip
    def test_tools_that_run_at_the_provider(self, provider, client, claiming, tool):
        body = {"tools": [{"functionDeclarations": [{"name": "f"}]}, {tool: {}}]}
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            ask(client, http_options={"extra_body": body})
        assert provider.requests == 0

    @pytest.mark.parametrize(
        "config",
        [
            {"cached_content": "cachedContents/1"},
            {"tools": [types.Tool(google_search=types.GoogleSearch())]},
            {"http_options": {"extra_body": {"continuationToken": "x"}}},
        ],
        ids=["cached content", "google search", "continuation"],
    )
    def test_what_is_kept_at_the_provider(self, provider, client, claiming, config):
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            ask(client, **config)
        assert provider.requests == 0

    def test_files_by_uri(self, provider, client, claiming):
        video = types.Part.from_uri(file_uri="https://example.org/cat.mp4", mime_type="video/mp4")
        with claiming(), pytest.raises(Unbounded, match=r"file_?[uU]ri"):
            ask(client, contents=["?", video])
        assert provider.requests == 0

    def test_they_run_where_they_are_allowed(self, provider, client, claiming):
        with claiming(unbounded="allow") as session:
            ask(client, tools=[types.Tool(google_search=types.GoogleSearch())])
        assert session.spent_nanos == provider.bill_nanos > 0

    @pytest.mark.parametrize(
        "call",
        [
            lambda c: c._api_client.request("post", "models/imagen-4:predict", {"a": 1}),
            lambda c: c._api_client.request("post", "models/veo-3:predictLongRunning", {"a": 1}),
            lambda c: c.caches.create(model=MODEL, config={"contents": ["?"]}),
            lambda c: c.batches.create(model=MODEL, src=[{"contents": "?"}]),
            lambda c: c._api_client.request("post", "models/x:somethingNew", {"a": 1}),
        ],
        ids=["images", "videos", "caches", "batches", "unheard of"],
    )
    def test_what_is_billed_otherwise(self, provider, client, claiming, call):
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            call(client)
        assert provider.requests == 0

    def test_the_same_prompt_again_and_again_is_a_loop(self, provider, client, claiming):
        with claiming(max_repeated_calls=3) as session:
            generate(client)
            generate(client)
            with pytest.raises(LoopDetected):
                generate(client)
        assert provider.requests == 2
        assert session.terminated_by == "loop_detected"


async def live(client):
    async with client.aio.live.connect(model=MODEL):
        pass


async def live_music(client):
    async with client.aio.live.music.connect(model=MODEL):
        pass


async def interact(client):
    client.interactions.create(model=MODEL, input="Say hello.")


async def interact_async(client):
    await client.aio.interactions.create(model=MODEL, input="Say hello.")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "way", [live, live_music, interact, interact_async], ids=lambda way: way.__name__
)
class TestBeside:
    """What does not go by the client's own requests."""

    async def test_is_refused(self, provider, client, claiming, way):
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            await way(client)
        assert provider.requests == 0

    async def test_is_refused_by_a_clients_own_budget(self, provider, client, way):
        with AgentBudget("$1").session() as session, pytest.raises(Unbounded):
            await way(wrap_client(client, session))
        assert provider.requests == 0

    async def test_is_let_through_where_that_is_allowed(self, client, claiming, way):
        with claiming(books=False, unbounded="allow"), pytest.raises(Exception) as error:
            await way(client)
        assert not isinstance(error.value, Unbounded)  # the provider knows nothing of it

    async def test_is_untouched_without_a_session(self, client, way):
        with pytest.raises(Exception) as error:
            await way(client)
        assert not isinstance(error.value, Unbounded)


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestInteractions:
    def test_what_is_read_of_them_is_free(self, client, claiming):
        with claiming(), pytest.raises(Exception) as error:
            client.interactions.get("1")
        assert not isinstance(error.value, Unbounded)


class TestOnExhausted:
    """A client of its own budget tells, and returns None."""

    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def bound(self, client, told):
        with AgentBudget("$0.002", max_repeated_calls=None).session() as session:
            yield wrap_client(client, session, on_exhausted=told.append)

    BIG = "x" * 20_000

    def test_an_answer(self, provider, bound, told):
        assert ask(bound, self.BIG) is None
        assert bound.chats.create(model=MODEL).send_message(self.BIG) is None
        assert bound.models.embed_content(model="gemini-embedding-001", contents=self.BIG) is None
        assert [type(error) for error in told] == [BudgetExhausted] * 3
        assert provider.requests == 0

    def test_a_stream(self, provider, bound, told):
        assert list(ask_stream(bound, self.BIG)) == []
        assert list(bound.chats.create(model=MODEL).send_message_stream(self.BIG)) == []
        assert len(told) == 2
        assert provider.requests == 0

    async def test_async(self, provider, bound, told):
        chat = bound.aio.chats.create(model=MODEL)
        assert await ask(bound.aio, self.BIG) is None
        assert await chat.send_message(self.BIG) is None
        assert [chunk async for chunk in await ask_stream(bound.aio, self.BIG)] == []
        assert [chunk async for chunk in await chat.send_message_stream(self.BIG)] == []
        assert len(told) == 4
        assert provider.requests == 0

    def test_what_fits_is_answered(self, provider, bound, told):
        assert ask(bound, max_output_tokens=50).text
        assert list(ask_stream(bound, max_output_tokens=50))
        assert told == []
        assert provider.requests == 2

    def test_a_call_among_those_of_functions(self, provider, bound, told):
        def long(q: str) -> str:
            """Search the web."""
            return self.BIG

        provider.script(Reply(tool_calls=[ToolCall("long", {"q": "x"})]))
        assert ask(bound, tools=[long]) is None
        assert len(told) == 1
        assert provider.requests == 1

    def test_a_stream_that_is_stopped_midway_raises(self, provider, bound, told):
        provider.script(Reply(output_tokens=6_000, ignores_cap=True))
        with pytest.raises(BudgetExhausted):
            list(ask_stream(bound))
        assert told == []


class TestTakeOver:
    """A framework's call and the request beneath it are the same money."""

    def opened(self, session, **more):
        prompt = Prompt([{"role": "user", "content": "?"}])
        return session.open_call(CallRequest(model=MODEL, prompt=prompt, **more))

    @pytest.fixture
    def session(self):
        return AgentBudget("$1", max_repeated_calls=None).session()

    def test_charges_once(self, provider, client, session):
        call = self.opened(session, agent="writer")
        generate(client)
        assert call.ended
        call.finish()
        assert session.spent_nanos == provider.bill_nanos > 0
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_a_retry_is_held_too(self, provider, retrying, session):
        provider.script(*TestRetries.REPLIES)
        call = self.opened(session)
        assert ask(retrying).text == "there"
        call.finish()
        assert session.spent_nanos == provider.bill_nanos > 0
        assert session.reserved == 0

    def test_two_budgets_hold_one_request(self, provider, client, session):
        ambient = AgentBudget("$0.02").session()
        context.guard(ambient)
        try:
            call = self.opened(session)
            provider.script(Reply(output_tokens=20_000))
            generate(client)
            call.finish()
        finally:
            context.unguard(ambient)
        assert session.spent_nanos == ambient.spent_nanos == provider.bill_nanos <= 20_000_000
        assert session.reserved == ambient.reserved == 0


class TestVertex:
    async def test_its_paths_name_the_model(self, provider, claiming):
        async with opened(options(provider), vertexai=True) as client:
            with claiming():
                generate(client)
                stream(client)
        assert "/publishers/google/models/" in provider.bills[0].path
        assert [bill.model for bill in provider.bills] == [MODEL, MODEL]

    @pytest.mark.parametrize(
        "host",
        ["generativelanguage.googleapis.com", "aiplatform.googleapis.com",
         "us-central1-aiplatform.googleapis.com", "aiplatform.us.rep.googleapis.com"],
    )  # fmt: skip
    def test_its_hosts_are_googles(self, host):
        assert provider_at(host) == "google"


class TestFree:
    @pytest.mark.parametrize(
        "path",
        ["/v1beta/models/x:countTokens", "/upload/v1beta/files", "/v1beta/files:register",
         "/v1beta/batches/1:cancel", "/v1beta/fileSearchStores", "/v1beta1/interactions/1/cancel"],
    )  # fmt: skip
    def test_what_is_managed_is_free(self, path):
        assert API.endpoint("post", path) is None

    @pytest.mark.parametrize(
        "path", ["/v1beta/fileSearchStores/1:importFile", "/v1beta/tunedModels", "/v1beta/new"]
    )
    def test_what_is_not_known_has_no_bound(self, path):
        assert API.endpoint("post", path).beyond

    def test_an_upload_passes(self, provider, client, claiming):
        request = client._api_client._build_request("post", f"models/{MODEL}:generateContent", {})
        request.data = b'{"contents": []}'
        with claiming(POOR), pytest.raises(errors.ClientError):
            client._api_client._request_once(request, False)
        assert provider.requests == 1


class TestInstalling:
    def test_twice_is_once(self, client, claiming):
        guard.install()
        with claiming():
            generate(client)

    def test_uninstall_restores_the_sdk(self, provider, client):
        guard.uninstall()
        try:
            for owner, name in (
                (_api_client.BaseApiClient, "_request_once"),
                (_api_client.BaseApiClient, "_async_request_once"),
                (genai.models.Models, "generate_content"),
            ):
                assert not hasattr(getattr(owner, name), "__wrapped__")
            session = AgentBudget("$1").session()
            context.guard(session)
            generate(client)
            context.unguard(session)
            assert session.spent_nanos == 0
        finally:
            guard.install()

    def test_methods_stay_what_they_were(self):
        assert inspect.iscoroutinefunction(genai.models.AsyncModels.generate_content)
        assert not inspect.iscoroutinefunction(genai.models.Models.generate_content)

    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            (_api_client.BaseApiClient, "_request_once"),
            (_api_client.BaseApiClient, "_async_request_once"),
            (_api_client.HttpResponse, "async_segments"),
            (genai.chats.Chat, "send_message"),
        ],
    )
    def test_an_sdk_that_changed_is_refused_loudly(self, monkeypatch, owner, name):
        guard.uninstall()
        try:
            with monkeypatch.context() as patch:
                patch.delattr(owner, name)
                with pytest.raises(GuardError, match=r"google.genai .* cannot be guarded"):
                    guard.install()
            assert not guard._patches.active
        finally:
            guard.install()
