"""What is Anthropic's own: its cap, its thinking budget, its clouds, its middleware."""

import threading

import anthropic
import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest, Prompt
from budget_core.testing import Reply

SAY = [{"role": "user", "content": "Say hello."}]
CHAT = {"model": "claude-sonnet-4-6", "messages": SAY}


@pytest.fixture
def claude(provider):
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test") as client:
        yield client


class TestCap:
    def test_the_callers_own_cap_is_held_and_sent_as_it_is(self, provider, claude, claiming):
        with claiming():
            claude.messages.create(**CHAT, max_tokens=50)
        assert provider.bills[0].output_cap == 50

    def test_it_is_lowered_to_what_is_left(self, provider, claude, claiming):
        provider.default = Reply(output_tokens=8_000)
        with claiming("$0.03"):
            answer = claude.messages.create(**CHAT, max_tokens=8_000)
        assert answer.stop_reason == "max_tokens"
        assert 256 <= provider.bills[0].output_cap < 2_000
        assert provider.bill_nanos <= 30_000_000

    def test_a_frameworks_default_is_no_wish_of_the_callers(self, provider, claude):
        """64,000 tokens are $0.96: held in full, one call would block all others."""
        session = AgentBudget("$1").session()
        prompt = Prompt(SAY)
        with session.open_call(CallRequest(model="claude-sonnet-4-6", prompt=prompt)) as call:
            stream = claude.messages.create(**CHAT, max_tokens=64_000, stream=True)
            assert call.cap < 40_000
            list(stream)
            call.finish()
        assert session.spent_nanos == provider.bill_nanos
        assert provider.bills[0].output_cap == call.cap


class TestThinking:
    THINK = {"type": "enabled", "budget_tokens": 10_000}

    def test_the_budget_to_think_stays_below_the_cap(self, provider, claude, claiming):
        provider.default = Reply("hm", reasoning_tokens=700)
        with claiming("$0.04"):
            claude.messages.create(**CHAT, max_tokens=12_000, thinking=self.THINK)
        body = provider.bills[0].body
        assert 1_024 <= body["thinking"]["budget_tokens"] < body["max_tokens"] < 3_000

    def test_it_is_left_alone_where_all_of_it_fits(self, provider, claude, claiming):
        with claiming():
            claude.messages.create(**CHAT, max_tokens=12_000, thinking=self.THINK)
        assert provider.bills[0].body["thinking"] == self.THINK

    def test_a_cap_too_low_to_think_is_refused(self, provider, claude, claiming):
        with claiming("$0.02"), pytest.raises(BudgetExhausted):
            claude.messages.create(**CHAT, max_tokens=12_000, thinking=self.THINK)
        assert provider.requests == 0


def test_cache_reads_and_writes_have_their_prices(provider, claude, claiming):
    provider.script(Reply(input_tokens=3_000, cached_tokens=1_000, cache_write_tokens=1_500))
    marked = [{"type": "text", "text": "x" * 9_000, "cache_control": {"type": "ephemeral"}}]
    with claiming() as session:
        claude.messages.create(**CHAT, max_tokens=50, system=marked)
    tokens = session.report()["breakdown"]["tokens"]
    assert (tokens["cache_read"], tokens["cache_write"]) == (1_000, 1_500)


class TestClouds:
    """Bedrock and Vertex move the model into the URL, after the guard has held the body."""

    @pytest.fixture(params=["bedrock", "vertex"])
    def cloud(self, request, provider):
        if request.param == "bedrock":
            pytest.importorskip("botocore")
            client = anthropic.AnthropicBedrock(
                base_url=provider.anthropic_url,
                aws_access_key="test",
                aws_secret_key="test",
                aws_region="us-east-1",
            )
            model = "global.anthropic.claude-sonnet-4-6"
        else:
            client = anthropic.AnthropicVertex(
                base_url=f"{provider.anthropic_url}/v1",
                region="us-east5",
                project_id="test",
                access_token="test",
            )
            model = "claude-sonnet-4-6"
        with client:
            yield client, model

    def test_are_held_capped_and_settled(self, provider, cloud, claiming):
        client, model = cloud
        provider.default = Reply(output_tokens=8_000)
        with claiming("$0.03") as session:
            client.messages.create(model=model, messages=SAY, max_tokens=8_000)
        assert provider.requests == 1
        assert session.spent_nanos == provider.bill_nanos > 10_000_000

    def test_send_nothing_when_it_does_not_fit(self, provider, cloud, claiming):
        client, model = cloud
        with claiming("$0.0000001"), pytest.raises(BudgetExhausted):
            client.messages.create(model=model, messages=SAY, max_tokens=50)
        assert provider.requests == 0


class TestMiddleware:
    """Of newer SDKs: it sees each attempt, and may answer in the provider's place."""

    @pytest.fixture
    def through(self, provider):
        def make(middleware):
            try:
                return anthropic.Anthropic(
                    base_url=provider.anthropic_url, api_key="test", middleware=[middleware]
                )
            except TypeError:
                pytest.skip("this version of the SDK has no middleware")

        return make

    def test_that_passes_on_changes_nothing(self, provider, through, claiming):
        provider.script(Reply(status=500, retry_after=0), Reply("there"))
        with claiming() as session, through(lambda request, send: send(request)) as client:
            client.messages.create(**CHAT, max_tokens=50)
        assert provider.requests == 2
        assert session.report()["breakdown"]["llm"]["calls"] == 1

    def test_that_asks_for_more_is_held_anew_and_never_sees_a_cap_of_ours(
        self, provider, through, claiming
    ):
        seen = []

        def asking(request, send):
            seen.append(request.json["max_tokens"])
            return send(request.copy(body={**request.json, "system": "Be brief. " * 400}))

        provider.script(Reply(status=500, retry_after=0), Reply(output_tokens=8_000))
        with claiming("$0.05"), through(asking) as client:
            client.messages.create(**CHAT, max_tokens=8_000)
        assert seen == [8_000, 8_000]
        assert provider.bills[0].body["system"]
        assert 256 <= provider.bills[0].output_cap < 3_000

    def test_that_answers_itself_costs_nothing(self, provider, through, claiming):
        with claiming() as session, through(lambda request, send: "cached") as client:
            assert client.messages.create(**CHAT, max_tokens=50) == "cached"
        assert provider.requests == 0
        assert session.report()["breakdown"]["llm"]["calls"] == 0

    def test_that_asks_for_something_free_does_not_disturb_the_call(
        self, provider, claude, through, claiming
    ):
        def counting(request, send):
            claude.messages.count_tokens(**CHAT)
            return send(request)

        with claiming() as session, through(counting) as client:
            client.messages.create(**CHAT, max_tokens=50)
        assert provider.requests == 2
        assert session.report()["breakdown"]["llm"]["calls"] == 1


class TestRetries:
    def test_a_timed_out_attempt_stays_charged(self, provider, claude, claiming):
        gate = threading.Event()
        provider.script(Reply("late", gate=gate), Reply("in time"))
        hasty = claude.with_options(timeout=0.3, max_retries=1)
        with claiming(exact=False) as session:
            hasty.messages.create(**CHAT, max_tokens=50)
            gate.set()
        assert provider.requests == 2
        assert session.report()["breakdown"]["llm"]["calls"] == 2

    def test_what_never_left_is_free(self, claiming):
        with (
            claiming() as session,
            anthropic.Anthropic(
                base_url="http://127.0.0.1:9", api_key="test", max_retries=1, timeout=2
            ) as nowhere,
            pytest.raises(anthropic.APIConnectionError),
        ):
            nowhere.messages.create(**CHAT, max_tokens=50)
        assert session.spent_nanos == 0

    def test_a_broken_connection_after_the_work_is_charged(self, provider, claude, claiming):
        provider.script(Reply("lost", drop_after=0))
        once = claude.with_options(max_retries=0)
        with claiming(exact=False), pytest.raises(anthropic.APIConnectionError):
            once.messages.create(**CHAT, max_tokens=50)
        assert provider.bill_nanos > 0
