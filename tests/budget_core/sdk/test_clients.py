"""Clients with a budget of their own: made with one, or wrapped afterwards."""

import asyncio
import copy
import gc
import subprocess
import sys
import threading

import anthropic
import openai
import pytest
from google import genai
from google.genai.types import HttpOptions

from budget_core import (
    AgentBudget,
    AsyncBudgetedAnthropic,
    AsyncBudgetedOpenAI,
    BudgetedAnthropic,
    BudgetedGoogle,
    BudgetedOpenAI,
    BudgetExhausted,
    wrap_client,
)
from budget_core.calls import context
from budget_core.testing import Reply

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # wrapped and dropped

SAY = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()


def _chat(client):
    return client.chat.completions.create(model="gpt-4o", messages=SAY)


def _message(client):
    return client.messages.create(model="claude-sonnet-4-6", messages=SAY, max_tokens=60)


def _content(client):
    return client.models.generate_content(model="gemini-2.5-flash", contents="Say hello.")


def _acontent(client):
    return client.aio.models.generate_content(model="gemini-2.5-flash", contents="Say hello.")


KINDS = {
    "openai": (openai.OpenAI, BudgetedOpenAI, _chat),
    "openai async": (openai.AsyncOpenAI, AsyncBudgetedOpenAI, _chat),
    "anthropic": (anthropic.Anthropic, BudgetedAnthropic, _message),
    "anthropic async": (anthropic.AsyncAnthropic, AsyncBudgetedAnthropic, _message),
    "google": (genai.Client, BudgetedGoogle, _content),
    "google async": (genai.Client, BudgetedGoogle, _acontent),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def options(provider, kind):
    if kind.startswith("google"):
        return {"api_key": "test", "http_options": HttpOptions(base_url=provider.google_url)}
    url = provider.openai_url if kind.startswith("openai") else provider.anthropic_url
    return {"api_key": "test", "base_url": url, "max_retries": 0}


@pytest.fixture
def plain(kind, options):
    return KINDS[kind][0](**options)


@pytest.fixture
def budgeted(kind, options):
    return lambda **more: KINDS[kind][1](**options, **more)


@pytest.fixture
def ask(kind):
    async def ask(client):
        answer = KINDS[kind][2](client)
        return await answer if hasattr(answer, "__await__") else answer

    return ask


class TestWrapping:
    async def test_only_that_instance_spends_the_sessions_money(self, provider, plain, ask):
        session = AgentBudget("$1").session()
        client = wrap_client(plain, session)
        assert isinstance(client, type(plain))
        await ask(client)
        assert session.spent_nanos == provider.bill_nanos > 0
        await ask(plain)
        assert session.spent_nanos < provider.bill_nanos

    async def test_the_original_works_when_its_copy_is_gone(self, plain, ask):
        client = wrap_client(plain, AgentBudget("$1").session())
        await ask(client)
        del client
        gc.collect()
        assert await ask(plain)

    async def test_the_copy_works_when_the_original_is_gone(self, options, kind, ask, provider):
        session = AgentBudget("$1").session()
        client = wrap_client(KINDS[kind][0](**options), session)
        gc.collect()
        await ask(client)
        assert session.spent_nanos == provider.bill_nanos > 0

    async def test_nothing_is_sent_when_it_does_not_fit(self, provider, plain, ask):
        client = wrap_client(plain, AgentBudget("$0.0000001").session())
        with pytest.raises(BudgetExhausted):
            await ask(client)
        assert provider.requests == 0

    async def test_wrapped_twice_both_pay(self, provider, plain, ask):
        one, other = AgentBudget("$1").session(), AgentBudget("$1").session()
        await ask(wrap_client(wrap_client(plain, one), other))
        assert one.spent_nanos == other.spent_nanos == provider.bill_nanos > 0

    async def test_inside_another_session_both_pay_once(self, provider, plain, ask):
        own, around = AgentBudget("$1").session(), AgentBudget("$1").session()
        context.guard(around)
        try:
            await ask(wrap_client(plain, own))
        finally:
            context.unguard(around)
        assert own.spent_nanos == around.spent_nanos == provider.bill_nanos > 0

    async def test_a_child_session_spends_its_parents_money_once(self, provider, plain, ask):
        with AgentBudget("$1").session() as parent, parent.child_session("$0.50") as child:
            await ask(wrap_client(wrap_client(plain, parent), child))
            assert parent.spent_nanos == child.spent_nanos == provider.bill_nanos > 0

    async def test_a_closed_session_pays_for_nothing(self, provider, plain, ask):
        with AgentBudget("$1").session() as session:
            client = wrap_client(plain, session)
        with pytest.raises(BudgetExhausted, match="closed"):
            await ask(client)
        assert provider.requests == 0

    def test_something_else_is_refused(self):
        with pytest.raises(TypeError, match="openai, anthropic or google-genai"):
            wrap_client(object(), AgentBudget("$1").session())


class TestBudgeted:
    async def test_has_a_budget(self, provider, budgeted, ask):
        client = budgeted(budget="$1")
        await ask(client)
        assert client.session.spent_nanos == provider.bill_nanos > 0
        assert client.session.limit == 1

    async def test_or_a_session(self, provider, budgeted, ask):
        session = AgentBudget("$1").session()
        client = budgeted(session=session)
        await ask(client)
        assert client.session is session
        assert session.spent_nanos == provider.bill_nanos > 0

    async def test_refuses_before_it_sends(self, provider, budgeted, ask):
        with pytest.raises(BudgetExhausted):
            await ask(budgeted(budget="$0.0000001"))
        assert provider.requests == 0

    async def test_on_exhausted_answers_none(self, provider, budgeted, ask):
        told = []
        client = budgeted(budget="$0.0000001", on_exhausted=told.append)
        assert await ask(client) is None
        assert [type(error) for error in told] == [BudgetExhausted]
        assert told[0].session_id == client.session.id
        assert provider.requests == 0

    async def test_warnings(self, provider, budgeted, ask):
        provider.default = Reply("hi", output_tokens=40)
        told = []
        client = budgeted(budget="$1", on_warning=told.append, warning_thresholds=(0.001, 99))
        await ask(client)
        assert [warning["threshold"] for warning in told] == [0.001]
        assert told[0]["budget"] == 1
        assert told[0]["spent"] == client.session.spent

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"budget": "$1", "session": AgentBudget("$1").session()},
            {"session": AgentBudget("$1").session(), "on_warning": print},
            {"budget": AgentBudget("$1"), "warning_thresholds": (50,)},
        ],
        ids=["neither", "both", "a session's warnings", "a budget's warnings"],
    )
    def test_says_what_it_takes(self, budgeted, wrong):
        with pytest.raises(TypeError, match=r"budget=|AgentBudget\("):
            budgeted(**wrong)


class TestCopies:
    """Of openai's and anthropic's clients; google's have none."""

    @pytest.fixture(params=["openai", "anthropic"])
    def kind(self, request):
        return request.param

    @pytest.mark.parametrize("how", ["copy", "with_options"])
    @pytest.mark.parametrize("wrapped", [True, False])
    async def test_spend_the_same_money(self, provider, plain, budgeted, ask, how, wrapped):
        session = AgentBudget("$1").session()
        client = wrap_client(plain, session) if wrapped else budgeted(session=session)
        twin = getattr(getattr(client, how)(timeout=20), how)(timeout=30)
        await ask(twin)
        assert twin.session is session
        assert session.spent_nanos == provider.bill_nanos > 0

    async def test_keep_on_exhausted(self, budgeted, ask):
        told = []
        client = budgeted(budget="$0.0000001", on_exhausted=told.append)
        assert await ask(client.with_options(timeout=30)) is None
        assert len(told) == 1

    async def test_a_copy_made_otherwise_outlives_what_it_was_made_of(self, provider, plain, ask):
        session = AgentBudget("$1").session()
        client = wrap_client(plain, session)
        twin = copy.copy(client)
        del client
        gc.collect()
        await ask(twin)
        assert session.spent_nanos == provider.bill_nanos > 0

    def test_a_stream_helper_of_responses_raises_after_it_told(self, kind, budgeted):
        if kind != "openai":
            return
        told = []
        client = budgeted(budget="$0.0000001", on_exhausted=told.append)
        with (
            pytest.raises(BudgetExhausted),
            client.responses.stream(model="gpt-4o", input="hello"),
        ):
            pass
        assert len(told) == 1
        assert client.responses.create(model="gpt-4o", input="hello", stream=True) is None

    def test_a_stream_helper_raises_after_it_told(self, kind, budgeted):
        told = []
        client = budgeted(budget="$0.0000001", on_exhausted=told.append)
        body = {"messages": SAY}
        if kind == "openai":
            stream = client.chat.completions.stream(model="gpt-4o", **body)
        else:
            stream = client.messages.stream(model="claude-sonnet-4-6", max_tokens=50, **body)
        with pytest.raises(BudgetExhausted), stream:
            pass
        assert len(told) == 1


def test_azure_stays_azure(provider):
    session = AgentBudget("$1").session()
    client = wrap_client(
        openai.AzureOpenAI(azure_endpoint=provider.url, api_key="test", api_version="2024-10-21"),
        session,
    )
    _chat(client.with_options(timeout=30))
    assert isinstance(client, openai.AzureOpenAI)
    assert session.spent_nanos == provider.bill_nanos > 0


class TestCrowds:
    """Fifty calls of a cent each against ten cents, in threads that inherit nothing."""

    @pytest.fixture(autouse=True)
    def _a_cent_each(self, provider):
        provider.respond(lambda _: Reply(input_tokens=8, output_tokens=998))

    def test_threads(self, provider):
        client = BudgetedOpenAI(api_key="test", base_url=provider.openai_url, budget="$0.10")
        ended = []

        def call():
            try:
                ended.append(_chat(client))
            except BudgetExhausted:
                ended.append(None)

        threads = [threading.Thread(target=call) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ended) == 50
        assert 90_000_000 <= provider.bill_nanos == client.session.spent_nanos <= 100_000_000
        assert client.session.reserved == 0

    async def test_tasks(self, provider):
        async with AsyncBudgetedOpenAI(
            api_key="test", base_url=provider.openai_url, budget="$0.10"
        ) as client:
            answers = await asyncio.gather(
                *(_chat(client) for _ in range(50)), return_exceptions=True
            )
        assert all(isinstance(a, BudgetExhausted) or a.usage for a in answers)
        assert 90_000_000 <= provider.bill_nanos == client.session.spent_nanos <= 100_000_000
        assert client.session.reserved == 0


def test_the_guard_goes_with_the_last_client_that_needs_it(provider):
    """In a process of its own: other tests hold the guard as well."""
    code = f"""
import gc, openai
from budget_core import AgentBudget, wrap_client
session = AgentBudget("$1").session()
hooked = lambda: hasattr(openai._base_client.SyncAPIClient.request, "__wrapped__")
client = wrap_client(openai.OpenAI(base_url={provider.openai_url!r}, api_key="test"), session)
assert hooked()
del client
gc.collect()
session.balance()
assert not hooked()
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
