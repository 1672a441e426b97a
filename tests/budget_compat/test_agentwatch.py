"""The documentation of AgentWatch's Python SDK is true of this package, with only the import changed.

The snippets stand here as they stand there.
"""

import asyncio
import pickle
import threading

import openai
import pytest

from budget_compat import agentwatch
from budget_compat.agentwatch import (
    AgentBudgetCheckUnavailable,
    AgentBudgetExceeded,
    WatchedOpenAI,
    wrap,
)
from budget_core import BudgetExhausted, LedgerUnavailable
from budget_core.sdk.clients import watched
from budget_core.testing import Reply

HELLO = [{"role": "user", "content": "Hello"}]
WATCHED = {"agentwatch_api_key": "key", "agentwatch_session_id": "my-session"}
ENFORCED = {**WATCHED, "agentwatch_session_budget_usd": 2.0, "agentwatch_enforcement_mode": True}

QUICK_START = """
from agentwatch import WatchedOpenAI, AgentBudgetExceeded

client = WatchedOpenAI(
    api_key="your-openai-key",
    agentwatch_api_key="aw_live_xxx",
    agentwatch_session_id="my-session",
    agentwatch_session_budget_usd=2.00,
    agentwatch_enforcement_mode=True,
)

try:
    response = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hello"}]
    )
except AgentBudgetExceeded as e:
    print(f"Blocked: ${e.spent:.4f} / ${e.limit:.4f}")
"""

WRAP = """
from openai import OpenAI
from agentwatch import wrap

client = OpenAI(api_key="your-key")
watched = wrap(
    client,
    agentwatch_api_key="aw_live_xxx",
    agentwatch_session_id="my-session",
    agentwatch_session_budget_usd=2.00,
    agentwatch_enforcement_mode=True,
)
"""

EXCEEDED = """
except AgentBudgetExceeded as e:
    print(f"Session: {e.session_id}")
    print(f"Spent: ${e.spent:.4f}")
    print(f"Limit: ${e.limit:.4f}")
"""

UNAVAILABLE = """
except AgentBudgetCheckUnavailable as e:
    print(f"Session: {e.session_id}")
    print(f"Reason: {e.reason}")
"""

ANALYZE = """
from agentwatch import analyze_text

risks = analyze_text("Contact user@example.com")
# Returns: ["PII_EMAIL"]
"""

STREAMING = """
stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Write a long story"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="")
"""

TRY = "try:\n    client.chat.completions.create(model='gpt-4o', messages=HELLO)"


@pytest.fixture(autouse=True)
def _process_of_its_own(monkeypatch):
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)
    yield
    watched._in_this_process.cache_clear()
    agentwatch._telemetry.cache_clear()


@pytest.fixture
def collected(collector):
    """What the collector was told, once everything was sent."""

    def events():
        assert agentwatch._telemetry(f"{collector.url}/v1/ingest", "key", 2.0).flush()
        return collector.events

    return events


@pytest.fixture
def client(run, collector):
    with WatchedOpenAI(api_key="test", **ENFORCED) as made:
        yield made


def ask(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **options})


def with_key(snippet):
    return snippet.replace("aw_live_xxx", "key")


class TestSnippets:
    def test_quick_start(self, run, provider, collected):
        names = run(with_key(QUICK_START))
        assert names["response"].choices[0].message.content == "Salt is salt."
        assert isinstance(names["client"], openai.OpenAI)
        (event,) = collected()
        assert event == {
            "model": "gpt-4o",
            "latency_ms": event["latency_ms"],
            "prompt_tokens": provider.bills[0].input_tokens,
            "completion_tokens": 40,
            "cost_usd": provider.bill,
            "identified_risks": [],
            "session_id": "my-session",
            "iteration_index": 1,
            "timestamp": event["timestamp"],
        }
        names["client"].close()

    def test_quick_start_when_the_money_is_spent(self, run, provider, capsys):
        run(with_key(QUICK_START).replace("2.00", "0.00001"))["client"].close()
        assert capsys.readouterr().out == "Blocked: $0.0000 / $0.0000\n"
        assert provider.requests == 0

    def test_wrap(self, run, collector, provider, collected):
        names = run(with_key(WRAP))
        ask(names["watched"])
        ask(names["client"])  # it stays as it is
        assert [event["iteration_index"] for event in collected()] == [1]
        assert names["watched"].session.spent_nanos == provider.bills[0].nanos
        names["client"].close()

    def test_exceeded(self, run, client, collector, capsys):
        collector.ledger.open(_account("watched:my-session"))
        collector.ledger.charge("c", ["watched:my-session"], (2_500_000_000, 0, 1, 0))
        run(TRY + EXCEEDED, client=client, AgentBudgetExceeded=AgentBudgetExceeded)
        assert capsys.readouterr().out == "Session: my-session\nSpent: $2.5000\nLimit: $2.0000\n"

    def test_unavailable(self, run, capsys):
        with WatchedOpenAI(
            api_key="test",
            ingest_url="http://127.0.0.1:1/v1/ingest",
            agentwatch_enforcement_fail_open=False,
            **ENFORCED,
        ) as client:
            run(
                TRY + UNAVAILABLE,
                client=client,
                AgentBudgetCheckUnavailable=AgentBudgetCheckUnavailable,
            )
        session, reason = capsys.readouterr().out.splitlines()
        assert session == "Session: my-session"
        assert "cannot be reached" in reason

    def test_analyze_text(self, run):
        assert run(ANALYZE)["risks"] == ["PII_EMAIL"]

    def test_streaming(self, run, client, provider, capsys, collected):
        run(STREAMING, client=client)
        assert capsys.readouterr().out == "Salt is salt."
        assert [event["completion_tokens"] for event in collected()] == [40]
        assert client.session.spent_nanos == provider.bill_nanos


def _account(name):
    from budget_core.ledger import Account

    return Account(name, lasts="standing")


class TestParameters:
    def test_the_key_is_required(self):
        with pytest.raises(TypeError, match="agentwatch_api_key"):
            WatchedOpenAI(api_key="test")
        with pytest.raises(TypeError, match="agentwatch_api_key"):
            wrap(openai.OpenAI(api_key="test"))

    def test_whoever_reports_says_who_it_is(self, run, collector, collected):
        named = {"agentwatch_project": "crawler", "agentwatch_team": "growth"}
        with WatchedOpenAI(api_key="test", agentwatch_api_key="key", **named) as client:
            ask(client, messages=[{"role": "user", "content": "Mail user@example.com"}])
            session_id = client.session.id
        (event,) = collected()
        assert (event["project"], event["team"]) == ("crawler", "growth")
        assert (event["session_id"], event["identified_risks"]) == (session_id, ["PII_EMAIL"])
        assert collector.spent("team:growth").usd > 0

    def test_without_enforcement_calls_are_only_reported(self, run, collected, provider):
        with WatchedOpenAI(api_key="test", agentwatch_session_budget_usd=0.0, **WATCHED) as client:
            ask(client)
        assert len(collected()) == provider.requests == 1

    def test_a_month_s_budget_is_enforced(self, run, collector):
        with (
            WatchedOpenAI(
                api_key="test", agentwatch_monthly_budget_usd=0.00001, **ENFORCED
            ) as client,
            pytest.raises(AgentBudgetExceeded) as raised,
        ):
            ask(client)
        assert raised.value.account == "monthly"

    def test_an_outage_stops_nobody_by_default(self, run, provider):
        down = {"ingest_url": "http://127.0.0.1:1/v1/ingest", "timeout_seconds": 0.5}
        with WatchedOpenAI(api_key="test", **down, **ENFORCED) as client:
            ask(client)
        assert provider.requests == 1
        agentwatch._telemetry(down["ingest_url"], "key", 0.5).close(0)

    def test_other_parameters_are_the_client_s(self, run, collector):
        with WatchedOpenAI(api_key="test", max_retries=7, timeout=3, **ENFORCED) as client:
            assert (client.max_retries, client.timeout) == (7, 3)

    def test_copies_spend_the_same_money(self, client, provider, collected):
        ask(client.with_options(max_retries=0))
        assert client.session.spent_nanos == provider.bill_nanos > 0
        assert [event["iteration_index"] for event in collected()] == [1]

    async def test_async_clients_can_be_wrapped(self, run, provider, collected):
        async with openai.AsyncOpenAI(api_key="test") as client:
            await ask(wrap(client, **ENFORCED))
        assert len(await asyncio.to_thread(collected)) == 1


class TestErrors:
    def test_they_are_this_package_s_too(self):
        assert issubclass(AgentBudgetExceeded, BudgetExhausted)
        assert issubclass(AgentBudgetCheckUnavailable, LedgerUnavailable)

    def test_they_pickle(self, run, collector):
        with (
            WatchedOpenAI(
                api_key="test", **{**ENFORCED, "agentwatch_session_budget_usd": 0.0}
            ) as client,
            pytest.raises(AgentBudgetExceeded) as raised,
        ):
            ask(client)
        again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
        assert vars(again) == vars(raised.value)

    def test_a_stream_that_outgrows_its_budget_is_stopped(self, run, provider, collector):
        # an answer that ignores its cap
        provider.default = Reply("word " * 3_000, output_tokens=3_000, ignores_cap=True)
        budget = {**ENFORCED, "agentwatch_session_budget_usd": 0.01}
        with WatchedOpenAI(api_key="test", **budget) as client:
            stream = ask(client, stream=True)
            with pytest.raises(AgentBudgetExceeded) as raised:
                list(stream)
        assert raised.value.limit == 0.01

    def test_a_session_that_others_have_spent_is_exceeded(self, client, collector, provider):
        collector.ledger.open(_account("watched:my-session"))
        collector.ledger.charge("c", ["watched:my-session"], (2_000_000_000, 0, 1, 0))
        with pytest.raises(AgentBudgetExceeded):
            ask(client)
        assert provider.requests == 0


def test_threads_share_a_client(client, collected):
    threads = [threading.Thread(target=ask, args=(client,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event["iteration_index"] for event in collected()) == [1, 2, 3, 4, 5, 6]


def test_the_names_are_those_that_are_documented():
    assert set(agentwatch.__all__) == {
        "AgentBudgetCheckUnavailable", "AgentBudgetExceeded", "WatchedOpenAI", "analyze_text",
        "wrap",
    }  # fmt: skip
