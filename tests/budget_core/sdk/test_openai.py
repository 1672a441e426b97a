"""What the guard does around a call, shown on the openai SDK: its ways are in `test_coverage`."""

import asyncio
import contextvars
import gc
import json
import threading

import httpx
import openai
import pydantic
import pytest

from budget_core import (
    AgentBudget,
    BudgetExhausted,
    CallRequest,
    LoopDetected,
    Prompt,
    Unbounded,
    UnknownModel,
)
from budget_core.calls import context
from budget_core.errors import GuardError
from budget_core.sdk.openai import API
from budget_core.sdk.openai import GUARD as guard
from budget_core.testing import Gate, Reply, ToolCall

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


class Pieces(httpx.SyncByteStream):
    """A body that comes in small pieces, as it does from a socket."""

    def __init__(self, body):
        self.body = body

    def __iter__(self):
        return (self.body[at : at + 16] for at in range(0, len(self.body), 16))


class Answer(pydantic.BaseModel):
    city: str


def create(client, chat):
    return client.chat.completions.create(**chat)


def stream(client, chat):
    return list(client.chat.completions.create(**chat, stream=True))


class TestAsync:
    async def test_a_cancelled_request_is_charged_in_full(
        self, provider, async_client, claiming, chat
    ):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate))
        with claiming(exact=False) as session:
            task = asyncio.create_task(async_client.chat.completions.create(**chat))
            await asyncio.to_thread(provider.wait_for_requests, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
        assert session.spent_nanos > 0


class TestStructuredOutput:
    def test_parse(self, provider, client, claiming, chat):
        provider.script(Reply('{"city": "Paris"}'))
        with claiming():
            parsed = client.chat.completions.parse(**chat, response_format=Answer)
        assert parsed.choices[0].message.parsed == Answer(city="Paris")

    def test_an_answer_that_cannot_be_parsed_was_paid_for(self, provider, client, claiming, chat):
        provider.script(Reply("no json"))
        with claiming() as session, pytest.raises(pydantic.ValidationError):
            client.chat.completions.parse(**chat, response_format=Answer)
        assert session.spent_nanos > 0


class TestUsage:
    def test_the_usage_chunk_is_swallowed_unless_asked_for(self, client, claiming, chat):
        with claiming():
            assert all(chunk.choices for chunk in stream(client, chat))
            asked = client.chat.completions.create(
                **chat, stream=True, stream_options={"include_usage": True}
            )
            assert list(asked)[-1].usage is not None

    def test_a_caller_who_declines_usage_gets_none_and_pays_the_hold(self, client, claiming, chat):
        with claiming(exact=False) as session:
            declined = client.chat.completions.create(
                **chat, stream=True, max_tokens=50, stream_options={"include_usage": False}
            )
            assert all(chunk.usage is None for chunk in declined)
        assert session.spent_nanos > 0

    def test_cached_and_reasoning_tokens_have_their_prices(self, provider, client, claiming, chat):
        provider.script(Reply(input_tokens=900, cached_tokens=800, output_tokens=60))
        provider.script(Reply("hm", reasoning_tokens=300))
        with claiming() as session:
            create(client, chat)
            create(client, chat | {"model": "o4-mini"})
        tokens = session.report()["breakdown"]["tokens"]
        assert tokens["cache_read"] == 800
        assert tokens["reasoning"] == 300

    @pytest.mark.parametrize("tier", ["flex", "priority"])
    def test_the_tier_is_the_one_that_served(self, provider, client, claiming, chat, tier):
        provider.script(Reply("hm", service_tier=tier))
        with claiming():
            create(client, chat | {"model": "o4-mini", "service_tier": tier})

    def test_an_answer_without_usage_costs_the_hold(self, provider, client, claiming, chat):
        provider.script(Reply("silent", usage=False), Reply("silent", usage=False))
        with claiming(exact=False) as session:
            create(client, chat)
            stream(client, chat)
        assert session.spent_nanos > provider.bill_nanos


class TestCap:
    def test_an_uncapped_answer_is_cut_on_the_wire(self, provider, client, claiming, chat):
        provider.script(Reply(output_tokens=20_000), Reply(output_tokens=20_000))
        with claiming("$0.05") as session:
            answer = create(client, chat)
            assert answer.choices[0].finish_reason == "length"
        assert provider.bill_nanos <= 50_000_000
        assert session.spent_nanos > 10_000_000

    def test_a_stream_is_cut_as_well(self, provider, client, claiming, chat):
        provider.script(Reply(output_tokens=20_000))
        with claiming("$0.05"):
            stream(client, chat)
        assert provider.bill_nanos <= 50_000_000

    def test_the_callers_own_cap_is_never_raised(self, provider, client, claiming, chat):
        with claiming():
            create(client, chat | {"max_tokens": 5})
            create(client, chat | {"max_completion_tokens": 6})
            client.responses.create(model="gpt-4o", input="hello", max_output_tokens=16)
        assert [bill.output_cap for bill in provider.bills] == [5, 6, 16]

    def test_a_callers_cap_is_lowered_in_its_own_parameter(self, provider, client, claiming, chat):
        with claiming("$0.02"):
            create(client, chat | {"max_completion_tokens": 16_000})
        body = provider.bills[0].body
        assert 256 <= body["max_completion_tokens"] < 2_000
        assert "max_tokens" not in body

    def test_an_answer_that_fits_whole_is_not_capped(self, provider, client, claiming, chat):
        with claiming("$100"):
            create(client, chat)
        assert provider.bills[0].output_cap is None

    def test_extra_body_is_part_of_what_is_held(self, provider, client, claiming, chat):
        with claiming("$0.02"):
            client.chat.completions.create(
                **chat, extra_body={"model": "gpt-4o-mini", "max_tokens": 9}
            )
        assert provider.bills[0].model == "gpt-4o-mini"
        assert provider.bills[0].output_cap == 9

    def test_all_answers_of_n_are_held(self, provider, client, claiming, chat):
        provider.script(Reply(output_tokens=5_000))
        with claiming("$0.05"):
            create(client, chat | {"n": 3})
        assert provider.bill_nanos <= 50_000_000

    def test_the_callers_options_stay_as_they_were(self, client, claiming, chat):
        options = openai._models.FinalRequestOptions.construct(
            method="post", url="/chat/completions", json_data=chat
        )
        with claiming("$0.02"):
            client.request(object, options)
        assert options.json_data == chat

    def test_a_provider_that_ignores_the_cap_is_cut_off(self, provider, client, claiming, chat):
        provider.script(Reply(output_tokens=3_000, ignores_cap=True, chunk_delay=0.001))
        with claiming("$0.02", exact=False) as session, pytest.raises(BudgetExhausted) as stopped:
            stream(client, chat)
        assert "outgrew" in str(stopped.value)
        assert provider.bills[0].aborted
        assert "stopped" in {event.kind for event in session.events()}


class TestRetries:
    def test_each_attempt_has_its_own_hold(self, provider, client, claiming, chat):
        provider.script(
            Reply(status=429, retry_after=0), Reply(status=500, retry_after=0), Reply("there")
        )
        with claiming() as session:
            create(client, chat)
        assert provider.requests == 3
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_a_refused_request_is_free(self, provider, client, claiming, chat):
        provider.script(Reply(status=400))
        with claiming() as session, pytest.raises(openai.BadRequestError):
            create(client, chat)
        assert session.spent_nanos == 0

    def test_a_timed_out_attempt_stays_charged(self, provider, client, claiming, chat):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate), Reply("in time"))
        hasty = client.with_options(timeout=httpx.Timeout(5, read=0.2), max_retries=1)
        with claiming(exact=False) as session:
            create(hasty, chat)
            gate.set()
        assert provider.requests == 2
        assert session.report()["breakdown"]["llm"]["calls"] == 2

    def test_a_gateway_timeout_may_have_been_billed(self, provider, client, claiming, chat):
        provider.script(Reply(status=504, retry_after=0, billed=True), Reply("there"))
        with claiming(exact=False) as session:
            create(client, chat)
        assert session.report()["breakdown"]["llm"]["calls"] == 2

    def test_what_never_left_is_free(self, claiming, chat):
        nowhere = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="test", max_retries=1)
        with claiming() as session, pytest.raises(openai.APIConnectionError):
            create(nowhere.with_options(timeout=2), chat)
        assert session.spent_nanos == 0

    def test_a_broken_connection_after_the_work_is_charged(self, provider, client, claiming, chat):
        provider.script(Reply("lost", drop_after=0))
        with claiming(exact=False), pytest.raises(openai.APIConnectionError):
            create(client.with_options(max_retries=0), chat)
        assert provider.bill_nanos > 0

    def test_a_retry_that_no_longer_fits_is_refused(self, provider, client, claiming, chat):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate))
        hasty = client.with_options(timeout=httpx.Timeout(5, read=0.2), max_retries=1)
        with (
            claiming("$0.02", exact=False, on_broken="hold"),
            pytest.raises(BudgetExhausted),
        ):
            create(hasty, chat)
        gate.set()
        assert provider.requests == 1

    def test_a_lost_attempt_is_charged_by_the_time_it_took(self, provider, client, claiming, chat):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate), Reply("done"))
        hasty = client.with_options(timeout=httpx.Timeout(5, read=0.2), max_retries=1)
        with claiming("$0.02", exact=False) as session:
            create(hasty, chat)
            gate.set()
        assert provider.requests == 2
        assert session.spent < 0.01


class TestStreams:
    def test_a_dropped_connection_is_charged_in_full(self, provider, client, claiming, chat):
        provider.script(Reply("one two three four five six", drop_after=3))
        with claiming(exact=False), pytest.raises((openai.APIError, httpx.HTTPError)):
            stream(client, chat)

    def test_a_last_event_without_a_blank_line_is_read_and_charged(self, claiming, chat):
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
        choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
        body = f"data: {json.dumps(chunk | {'choices': [choice], 'usage': usage})}"
        headers = {"content-type": "text/event-stream"}
        transport = httpx.MockTransport(
            lambda _: httpx.Response(200, stream=Pieces(body.encode()), headers=headers)
        )
        with httpx.Client(transport=transport) as http:
            client = openai.OpenAI(base_url="http://test/v1", api_key="test", http_client=http)
            session = AgentBudget("$1").session()
            context.guard(session)
            try:
                with client.chat.completions.with_streaming_response.create(
                    **chat, stream=True
                ) as response:
                    assert "hi" in "".join(response.iter_text())
            finally:
                context.unguard(session)
        assert session.spent_nanos == 10 * 2_500 + 5 * 10_000

    def test_closing_early_charges_the_hold(self, provider, client, claiming, chat):
        provider.script(Reply(output_tokens=500, chunk_delay=0.01))
        with claiming(exact=False) as session:
            with client.chat.completions.create(**chat, stream=True) as chunks:
                next(iter(chunks))
            assert session.reserved == 0
        assert provider.bills[0].aborted

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    def test_a_stream_that_nobody_reads_is_charged_when_it_is_dropped(
        self, provider, client, claiming, chat
    ):
        with claiming(exact=False) as session:
            client.chat.completions.create(**chat, stream=True)
            gc.collect()
            assert session.reserved == 0
            assert session.spent_nanos > 0

    def test_a_wrapped_stream_is_charged_once(self, client, claiming, chat):
        with claiming() as session:
            list(session.wrap(client.chat.completions.create(**chat, stream=True)))

    def test_a_wrapped_response_is_charged_once(self, client, claiming, chat):
        with claiming() as session:
            session.wrap(create(client, chat))

    def test_tool_call_deltas_pass(self, provider, client, claiming, chat):
        provider.script(Reply(tool_calls=[ToolCall("f", {"x": 1})]))
        with claiming():
            chunks = stream(client, chat | {"tools": [TOOL]})
        names = [c.choices[0].delta.tool_calls for c in chunks if c.choices[0].delta.tool_calls]
        assert names[0][0].function.name == "f"


class TestNonsense:
    def test_a_body_that_cannot_be_built_was_never_sent(self, provider, client, claiming, chat):
        with claiming() as session:
            with pytest.raises(TypeError):
                client.post("/chat/completions", body=chat | {"user": object()}, cast_to=object)
            assert (session.spent_nanos, session.reserved) == (0, 0)
        assert provider.requests == 0

    @pytest.mark.parametrize("options", ["nonsense", ["include_usage"], 1])
    def test_options_that_make_no_sense_are_left_to_the_provider(self, options):
        endpoint = API.endpoints["/chat/completions"]
        assert not endpoint.silent({"stream": True, "stream_options": options})


class TestRefusals:
    def test_an_unknown_model_is_refused_before_the_call(self, provider, client, claiming, chat):
        with claiming(), pytest.raises(UnknownModel, match="register_model"):
            create(client, chat | {"model": "gpt-4o-ultra-exp"})
        assert provider.requests == 0

    @pytest.mark.parametrize(
        "extra",
        [
            {"tools": [{"type": "web_search"}]},
            {"previous_response_id": "resp_1"},
            {
                "input": [
                    {"role": "user", "content": [
                        {"type": "input_image", "image_url": "https://example.org/cat.png"}
                    ]}
                ]
            },
        ],
        ids=["server tool", "stored conversation", "image by url"],
    )  # fmt: skip
    def test_what_has_no_bound_is_refused(self, provider, client, claiming, extra):
        request = {"model": "gpt-4o", "input": "hello"} | extra
        with claiming(), pytest.raises(Unbounded, match="unbounded='allow'"):
            client.responses.create(**request)
        assert provider.requests == 0

    def test_the_same_prompt_again_and_again_is_a_loop(self, provider, client, claiming, chat):
        with claiming(max_repeated_calls=3) as session:
            create(client, chat)
            create(client, chat)
            with pytest.raises(LoopDetected):
                create(client, chat)
        assert provider.requests == 2
        assert session.terminated_by == "loop_detected"

    def test_two_hundred_different_prompts_are_no_loop(self, provider, client, claiming):
        with claiming():
            for number in range(30):
                create(
                    client,
                    {"model": "gpt-4o", "messages": [{"role": "user", "content": f"{number}"}]},
                )
        assert provider.requests == 30


class TestTakeOver:
    """A framework's call and the request beneath it are the same money."""

    @pytest.fixture
    def framework(self):
        """Open calls as a framework does, and say in the end that they are over."""
        opened = []

        def open_call(session, **more):
            prompt = Prompt([{"role": "user", "content": "?"}])
            opened.append(session.open_call(CallRequest(model="gpt-4o", prompt=prompt, **more)))
            return opened[-1]

        yield open_call
        for call in opened:
            call.finish()
        assert context.open_calls() == ()

    def session(self, budget="$1"):
        return AgentBudget(budget, max_repeated_calls=None).session()

    def test_charges_once(self, provider, client, chat, framework):
        session = self.session()
        call = framework(session, agent="writer")
        create(client, chat)
        assert call.ended
        call.finish()
        report = session.report()
        assert report["total_spent_nanos"] == provider.bill_nanos
        assert report["breakdown"]["llm"]["calls"] == 1
        assert report["breakdown"]["agents"]["by_agent"].keys() == {"writer"}

    def test_every_further_request_pays_for_itself(self, provider, client, chat, framework):
        session = self.session()
        calls = [framework(session), framework(session)]
        for _ in range(3):
            create(client, chat)
        assert all(call.ended for call in calls)
        assert session.spent_nanos == provider.bill_nanos
        assert session.report()["breakdown"]["llm"]["calls"] == 3

    def test_a_retry_is_held_by_every_budget_that_held_the_call(self, provider, client, chat):
        mine, other = self.session(), self.session()
        prompt = Prompt([{"role": "user", "content": "?"}])
        call = mine.open_call(CallRequest(model="gpt-4o", prompt=prompt), joining=(other,))
        provider.script(Reply(status=500, retry_after=0), Reply("there"))
        create(client, chat)
        create(client, chat)
        call.finish()
        assert mine.spent_nanos == other.spent_nanos == provider.bill_nanos
        assert mine.reserved == other.reserved == 0

    def test_a_tools_own_request_is_held_by_every_budget_of_the_tool(self, provider, client, chat):
        mine, other = self.session(), self.session()
        with mine.open_call(CallRequest(kind="tool", name="search"), joining=(other,)):
            create(client, chat)
        assert mine.spent_nanos == other.spent_nanos == provider.bill_nanos

    def test_prices_what_is_really_sent(self, provider, client, chat, framework):
        session = self.session("$0.05")
        framework(session)
        provider.script(Reply(output_tokens=50_000))
        create(client, chat | {"model": "gpt-4.1"})
        assert session.spent_nanos == provider.bill_nanos <= 50_000_000

    def test_refuses_what_does_not_fit_and_frees_the_hold(self, provider, client, chat, framework):
        session = self.session("$0.05")
        call = framework(session)
        with pytest.raises(BudgetExhausted):
            create(client, {"model": "o1", "messages": [{"role": "user", "content": "x" * 9_000}]})
        assert call.ended
        assert session.reserved == 0
        assert provider.requests == 0

    def test_a_tool_hides_the_call_around_it(self, provider, client, chat, framework):
        session = self.session()
        outer = framework(session)
        with session.open_call(CallRequest(kind="tool", name="search", cost=5)):
            create(client, chat)
            assert not outer.claimed
        outer.release()
        assert session.spent_nanos == provider.bill_nanos + 5

    def test_two_budgets_hold_one_request(self, provider, client, chat, framework):
        mine, ambient = self.session(), self.session("$0.03")
        context.guard(ambient)
        try:
            framework(mine)
            provider.script(Reply(output_tokens=20_000))
            create(client, chat)
        finally:
            context.unguard(ambient)
        assert mine.spent_nanos == ambient.spent_nanos == provider.bill_nanos <= 30_000_000
        assert mine.reserved == ambient.reserved == 0


class TestCrowds:
    """Fifty calls of a cent each against ten cents: the affordable ones run, the others wait."""

    CASES = {
        "sized": (
            {"messages": [{"role": "user", "content": "word " * 1_600}], "max_tokens": 500},
            Reply(input_tokens=2_000, output_tokens=500),
        ),
        "unsized": (
            {"messages": [{"role": "user", "content": "Hi"}]},
            Reply(input_tokens=8, output_tokens=998),
        ),
    }

    @pytest.fixture(params=CASES, ids=str)
    def case(self, request, provider):
        body, reply = self.CASES[request.param]
        provider.respond(lambda _: reply)
        return {"model": "gpt-4o"} | body

    def checked(self, provider):
        assert 90_000_000 <= provider.bill_nanos <= 100_000_000

    def test_threads(self, provider, client, claiming, case):
        def call():
            try:
                create(client, case)
            except BudgetExhausted:
                refused.append(1)

        refused = []
        with claiming("$0.10"):
            threads = [
                threading.Thread(target=contextvars.copy_context().run, args=(call,))
                for _ in range(50)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.checked(provider)
        assert len(refused) == 40

    async def test_tasks(self, provider, async_client, claiming, case):
        with claiming("$0.10"):
            answers = await asyncio.gather(
                *(async_client.chat.completions.create(**case) for _ in range(50)),
                return_exceptions=True,
            )
        self.checked(provider)
        assert sum(isinstance(answer, BudgetExhausted) for answer in answers) == 40

    async def test_a_long_winded_model_does_not_serialise_its_users(
        self, provider, async_client, claiming
    ):
        gate = Gate(4)
        provider.respond(lambda _: Reply(output_tokens=1_000, gate=gate))
        with claiming("$1"):
            answers = await asyncio.gather(
                *(
                    async_client.chat.completions.create(
                        model="gpt-5.2", messages=[{"role": "user", "content": f"Branch {n}"}]
                    )
                    for n in range(8)
                )
            )
        assert provider.peak_in_flight >= 4
        assert not gate.timed_out
        assert [a.choices[0].finish_reason for a in answers] == ["stop"] * 8
        assert [a.usage.completion_tokens for a in answers] == [1_000] * 8


class TestInstalling:
    def test_twice_is_once(self, provider, client, claiming, chat):
        guard.install()
        with claiming():
            create(client, chat)

    def test_uninstall_restores_the_sdk(self, provider, client, chat):
        guard.uninstall()
        try:
            hooked = openai._base_client.SyncAPIClient.request
            assert not hasattr(hooked, "__wrapped__")
            session = AgentBudget("$1").session()
            context.guard(session)
            create(client, chat)
            context.unguard(session)
            assert session.spent_nanos == 0
        finally:
            guard.install()

    def test_an_sdk_that_changed_is_refused_loudly(self, monkeypatch):
        guard.uninstall()
        try:
            with monkeypatch.context() as patch:
                patch.delattr(openai._base_client.SyncAPIClient, "_sleep_for_retry")
                with pytest.raises(GuardError, match=r"openai .* cannot be guarded"):
                    guard.install()
        finally:
            guard.install()

    def test_azure_is_guarded_too(self, provider, claiming, chat):
        azure = openai.AzureOpenAI(
            azure_endpoint=provider.url, api_key="test", api_version="2024-10-21"
        )
        with claiming("$0.05"):
            create(azure, chat)
        assert provider.bills[0].path.startswith("/openai/deployments/gpt-4o/")


class TestSeveralPrompts:
    MODEL = "gpt-3.5-turbo-instruct"

    def test_each_is_answered_and_held(self, provider, client, claiming):
        provider.default = Reply(output_tokens=500)
        with claiming("$0.019"):
            client.completions.create(model=self.MODEL, prompt=["a"] * 20, max_tokens=500)
        assert 10_000_000 < provider.bill_nanos <= 19_000_000

    @pytest.mark.parametrize(
        ("prompt", "answers"),
        [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1)],
    )
    def test_a_list_of_tokens_is_one(self, prompt, answers):
        request = API.endpoints["/completions"].read({"model": self.MODEL, "prompt": prompt}, None)
        assert request.n == answers


class TestAfterARetry:
    def test_the_usage_chunk_is_still_swallowed(self, provider, client, claiming, chat):
        provider.script(Reply(status=500, retry_after=0), Reply("there"))
        with claiming():
            assert all(chunk.choices for chunk in stream(client, chat))
        assert provider.requests == 2

    def test_the_first_attempts_cap_is_not_the_callers(self, provider, client, claiming, chat):
        """What had to be cut while others held the money need not be when they are done."""
        with claiming("$0.05") as session:
            blocking = session.open_call(
                CallRequest(model="gpt-4o", input_tokens=10, output_cap=4_000)
            )
            blocking.guarded = True  # of another request, not around this one

            def reply(incoming):
                if incoming.index:
                    return Reply("there")
                blocking.release()
                return Reply(status=500, retry_after=0)

            provider.respond(reply)
            create(client, chat)
        first, second = (bill.output_cap for bill in provider.bills)
        assert first < second


class TestNeverSent:
    """The provider saw nothing, so nothing is charged, however often it was tried."""

    def test_a_header_that_cannot_be_sent(self, provider, claiming, chat):
        with (
            claiming() as session,
            openai.OpenAI(base_url=provider.openai_url, api_key="test\n") as client,
            pytest.raises(openai.APIConnectionError),
        ):
            create(client, chat)
        assert session.spent_nanos == provider.requests == 0

    def test_a_client_that_was_closed(self, provider, claiming, chat):
        closed = openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=1)
        closed.close()
        with claiming() as session, pytest.raises((openai.APIConnectionError, RuntimeError)):
            create(closed, chat)
        assert session.spent_nanos == provider.requests == 0


def test_a_session_closed_under_a_stream_says_so(client, claiming, chat):
    with claiming(exact=False) as session:
        chunks = client.chat.completions.create(**chat, stream=True)
        session.close()
        with pytest.raises(BudgetExhausted, match="was closed while the answer"):
            list(chunks)


def test_a_body_that_is_no_stream_is_handed_on_as_it_comes(client, claiming, chat):
    with (
        claiming(),
        client.chat.completions.with_streaming_response.create(**chat) as response,
    ):
        pieces = list(response.iter_bytes(10))
    assert max(map(len, pieces)) == 10
    assert json.loads(b"".join(pieces))["object"] == "chat.completion"
