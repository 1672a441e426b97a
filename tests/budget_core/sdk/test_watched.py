"""Clients that are reported to a collector, and kept within budgets that others share."""

import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress

import anthropic
import openai
import pytest

from budget_core import BudgetExhausted, LedgerUnavailable, RiskDetected, declare
from budget_core.errors import AccountConflict, InvalidBudget
from budget_core.ledger import ledger_from
from budget_core.sdk.clients import watched
from budget_core.sdk.clients.watched import watch_client, watched_session
from budget_core.testing import Reply

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _process_of_its_own(monkeypatch):
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)
    yield
    for made in (watched._in_this_process, watched._reporter):
        made.cache_clear()


@pytest.fixture
def client(provider):
    provider.default = Reply("Salt is salt.", output_tokens=40)
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as made:
        yield made


def ask(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **options})


def flush(collector):
    assert watched._reporter(collector.url, "key").flush()


def calls(collector):
    flush(collector)
    return [event for event in collector.events if event["type"] == "call"]


def watch(client, collector, budget="$2", **options):
    return watch_client(client, budget, collector=collector.url, api_key="key", **options)


def answer(body, length=None):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


GO_ON = b'{"exceeded": false}'
RAW = {
    "answers no HTTP": (b"\x00\xff\r\n\r\n",),
    "answers half": (answer(GO_ON[:-3], 99),),
    "answers too deep": (answer(b"[" * 50_000),),
    "answers too much": (answer(b'{"exceeded": false, "spent_usd": 1%b}' % (b"0" * 4_000)),),
    "answers in words": (answer(b'{"exceeded": "certainly not"}'),),
    "never ends its head": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "never ends its body": (answer(GO_ON, 60_000), b" "),
}
"""What breaks readers: a beginning, and what follows without an end."""


class Raw(socketserver.ThreadingTCPServer):
    """Answers whatever is asked with the same bytes."""

    daemon_threads = True

    def __init__(self, begin, more=b""):
        super().__init__(("127.0.0.1", 0), self.answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.begin, self.more, self.over = begin, more, threading.Event()

    def answer(self, client, _address, _server):
        with suppress(OSError):  # it need not wait for the end
            client.recv(65_536)
            client.sendall(self.begin)
            while self.more and not self.over.wait(0.02):
                client.sendall(self.more)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self.server_close()


class TestReporting:
    def test_a_call_is_told_with_all_that_it_was(self, provider, client, collector):
        watching = watch(client, collector, session_id="s", project="crawler", team="growth")
        ask(watching)
        ask(watching, messages=[{"role": "user", "content": "Write to user@example.com"}])
        first, second = calls(collector)
        bills = provider.bills
        assert {key: first[key] for key in ("session_id", "project", "team", "name", "iteration")} == {
            "session_id": "s", "project": "crawler", "team": "growth", "name": "gpt-4o",
            "iteration": 1,
        }  # fmt: skip
        assert first["cost"] == bills[0].nanos / 1e9
        assert (first["usage"]["input"], first["usage"]["output"]) == (
            bills[0].input_tokens, bills[0].output_tokens,
        )  # fmt: skip
        assert first["seconds"] > 0
        assert (first["risks"], second["risks"], second["iteration"]) == ([], ["PII_EMAIL"], 2)
        assert "user@example.com" not in repr(collector.events)
        assert watching.session.spent_nanos == provider.bill_nanos

    def test_what_an_answer_gives_away_is_told_too(self, provider, client, collector):
        provider.default = Reply("Mail user@example.com", output_tokens=40)
        ask(watch(client, collector))
        (call,) = calls(collector)
        assert call["risks"] == ["PII_EMAIL"]
        assert [e["where"] for e in collector.events if e["type"] == "risk"] == ["answer"]

    async def test_of_async_clients_and_of_anthropic_s(self, provider, collector):
        asked = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": HELLO}
        client = anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="test")
        async with client:
            watching = watch(client, collector, session_id="s")
            await watching.messages.create(**asked)
        assert [call["name"] for call in calls(collector)] == ["claude-sonnet-4-6"]
        assert collector.spent("watched:s").usd == provider.bill_nanos

    def test_without_a_collector_budgets_hold_all_the_same(self, client):
        watching = watch_client(client, "$0.00001")
        with pytest.raises(BudgetExhausted):
            ask(watching)

    def test_the_client_itself_stays_as_it_is(self, client, collector):
        watch(client, collector)
        ask(client)
        assert calls(collector) == []

    def test_who_only_reports_refuses_nothing(self, provider, client, collector):
        provider.price("nobody-s", input="1", output="1")
        watching = watch(
            client, collector, "$0.00001", enforce=False, team="growth", monthly="$0.01"
        )
        for model in ("gpt-4o", "nobody-s"):
            ask(watching, model=model)
        assert len(calls(collector)) == 2

    def test_other_settings_are_those_of_every_budget(self, client):
        with pytest.raises(RiskDetected):
            ask(
                watch_client(client, "$1", on_risk="refuse"),
                messages=[{"role": "user", "content": "a@b.example"}],
            )


class TestSharing:
    def test_a_team_s_month_is_all_its_clients_have(self, client):
        one, other = (
            watch_client(client, "$5", team="growth", monthly="$0.00001") for _ in range(2)
        )
        for watching in (one, other):
            with pytest.raises(BudgetExhausted) as raised:
                ask(watching)
            assert raised.value.account == "team:growth"

    def test_a_team_s_spend_is_counted_without_a_limit(self, provider, client):
        for _ in range(2):
            ask(watch_client(client, "$5", team="growth"))
        team = watched._in_this_process().balance("team:growth")
        assert team.spent.usd == provider.bill_nanos > 0

    def test_limits_that_a_team_has_hold(self, client, tmp_path):
        url = f"sqlite:///{tmp_path}/budgets.db"
        ledger = ledger_from(url)
        declare("team:growth", "$0.00001/day", ledger=ledger)
        with pytest.raises(BudgetExhausted) as raised:
            ask(watch_client(client, "$5", team="growth", ledger=url))
        assert raised.value.account == "team:growth"
        with pytest.raises(AccountConflict):
            watched_session("$5", team="growth", monthly="$7", ledger=url)
        ledger.close_connection()

    @pytest.mark.parametrize(
        ("named", "account"), [({"project": "crawler"}, "project:crawler"), ({}, "monthly")]
    )
    def test_without_a_team_a_month_is_the_project_s_or_everybody_s(self, client, named, account):
        with pytest.raises(BudgetExhausted) as raised:
            ask(watch_client(client, monthly="$0.00001", **named))
        assert raised.value.account == account

    def test_what_a_shared_ledger_counts_the_collector_does_not(self, client, collector, tmp_path):
        url = f"sqlite:///{tmp_path}/budgets.db"
        ask(watch(client, collector, team="growth", ledger=url))
        (call,) = calls(collector)
        assert call["ledger"] == "shared"
        assert collector.ledger.accounts() == []
        ledger_from(url).close_connection()


class TestChecking:
    def test_what_others_spent_in_the_same_name_counts(self, provider, client, collector):
        first = watch(client, collector, "$1", session_id="s")
        ask(first)
        flush(collector)
        spent = provider.bill_nanos / 1e9
        other = watch(client, collector, spent, session_id="s")  # as another process would
        with pytest.raises(BudgetExhausted, match="as the collector says") as raised:
            ask(other)
        assert (raised.value.spent, raised.value.limit) == (spent, spent)
        assert (raised.value.account, raised.value.session_id) == ("s", "s")
        assert provider.requests == 1
        assert other.session.terminated_by == "budget_exhausted"

    async def test_async_clients_ask_too(self, provider, collector):
        declare("team:growth", "$1", ledger=collector.ledger)
        collector.ledger.charge("c", ["team:growth"], (2_000_000_000, 0, 1, 0))
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
            with pytest.raises(BudgetExhausted) as raised:
                await ask(watch(client, collector, team="growth"))
        assert raised.value.account == "team:growth"
        assert provider.requests == 0

    def test_without_enforcement_nobody_asks(self, client, receiver):
        watching = watch_client(client, "$1", collector=receiver.url, enforce=False)
        ask(watching)
        assert watching.session.check is None

    @pytest.fixture(
        params=["hangs", "answers 500", "answers nothing", "redirects", "is down", *RAW]
    )
    def broken(self, request, receiver):
        if request.param in RAW:
            with Raw(*RAW[request.param]) as raw:
                yield raw.url
            return
        if request.param == "is down":
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            yield url
            return
        answers = {"hangs": None, "answers 500": 500, "answers nothing": 200, "redirects": 302}
        receiver.answers = [answers[request.param]] * 99
        yield receiver.url

    def test_a_collector_that_does_not_answer_stops_nobody(
        self, provider, client, broken, receiver, caplog
    ):
        watching = watch_client(client, "$1", collector=broken, timeout=0.1)
        for _ in range(30):
            ask(watching)
        assert provider.requests == 30
        assert caplog.text.count("The budget check does not answer") == 1
        asked = [got for got in receiver.all() if "budget-check" in got.path]
        assert len(asked) <= 1  # it is not asked again for a while

    def test_unless_it_is_to(self, provider, client, broken):
        watching = watch_client(client, "$1", collector=broken, timeout=0.1, fail_open=False)
        with pytest.raises(LedgerUnavailable, match="the budget check") as raised:
            ask(watching)
        assert raised.value.session_id == watching.session.id
        assert provider.requests == 0

    def test_a_collector_s_url_is_one_of_http(self, client):
        with pytest.raises(InvalidBudget):
            watch_client(client, "$1", collector="file:///etc")


class TestDelivery:
    """What is told costs its teller nothing, whatever becomes of it."""

    @pytest.mark.parametrize("answer", [None, 500, 404])
    def test_counts_add_up_and_calls_go_on(self, provider, client, receiver, answer):
        receiver.answers = [answer] * 9
        watching = watch_client(client, "$1", collector=receiver.url, enforce=False)
        reporter = watched._reporter(receiver.url, None)
        ask(watching)
        hastened = threading.Thread(target=reporter.flush, args=(20,))
        hastened.start()
        receiver.next()  # it has the first batch, and does not take it
        for _ in range(19):
            ask(watching)
        for n in range(600):
            watching.session.emit("top_up", amount=n)
        assert provider.requests == 20
        counts = reporter.counts
        assert counts.sent == 0
        assert counts.dropped + counts.waiting == 620
        receiver.over.set()
        reporter.close(0)
        hastened.join()
        counts = reporter.counts
        assert counts.sent + counts.dropped + counts.waiting == 620

    def test_a_process_that_ends_has_told_everything(self, provider, collector):
        script = f"""
import openai
from budget_core.sdk.clients.watched import watch_client
client = openai.OpenAI(base_url={provider.openai_url!r}, api_key="test")
watching = watch_client(client, "$1", collector={collector.url!r}, api_key="key", session_id="s")
for _ in range(3):
    watching.chat.completions.create(model="gpt-4o", messages={HELLO!r})
"""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len([e for e in collector.events if e["type"] == "call"]) == 3
        assert collector.spent("watched:s").usd == provider.bill_nanos

    def test_threads_number_their_calls_together(self, client, collector):
        watching = watch(client, collector, "$5")
        threads = [threading.Thread(target=ask, args=(watching,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(call["iteration"] for call in calls(collector)) == list(range(1, 9))
