"""What a collector takes, what it charges, and what it refuses."""

import json
import socket
from contextlib import suppress

import httpx
import pytest

from budget_cli.collector import build_app
from budget_core import AgentBudget, MemoryLedger, Usage, declare
from budget_core.errors import LedgerUnavailable
from budget_core.events.ingest import Ingest
from budget_core.money.prices.lookup import rates
from budget_core.testing.runner import Runner

KEY = {"Authorization": "Bearer key"}
CALL = {
    "type": "call", "kind": "llm", "name": "gpt-4o", "session_id": "s", "cost": 0.25,
    "usage": {"input": 10, "output": 5}, "team": "growth",
}  # fmt: skip
WATCHED = {
    "model": "gpt-4o",
    "latency_ms": 5,
    "prompt_tokens": 1_000,
    "completion_tokens": 100,
    "identified_risks": [],
    "session_id": "s",
}
SEEN = {"api": "OpenAI", "endpoint": "/v1/chat/completions", "method": "POST", "status": 200}


@pytest.fixture
def http(collector):
    with httpx.Client(base_url=collector.url, headers=KEY) as client:
        yield client


def send(http, document, **options):
    return http.post("/v1/ingest", json=document, **options)


def check(http, **asked):
    answer = http.get("/v1/budget-check", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_our_own_events_are_charged_as_they_say(collector, http):
    answer = send(http, {"events": [CALL, {"type": "warning", "session_id": "s"}]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "rejected": 0})
    assert collector.spent("watched:s") == (250_000_000, 15, 1, 0)
    assert collector.spent("team:growth") == (250_000_000, 15, 1, 0)
    assert [event["type"] for event in collector.events] == ["call", "warning"]


def test_what_a_session_posts_is_what_it_spent(collector, http):
    listener = Ingest(f"{collector.url}/v1/ingest", headers=KEY)
    session = AgentBudget("$5", listeners=[listener]).session("s")
    for n in range(20):
        session.track(cost="0.001", tool_name=f"tool {n % 3}")
    assert listener.flush()
    assert listener.counts == (20, 0, 0, 0)
    assert collector.spent("watched:s").usd == session.spent_nanos == 20_000_000
    listener.close()


def test_agentwatch_s_events_are_priced(collector, http):
    assert send(http, WATCHED).status_code == 202
    expected = rates("gpt-4o").cost(Usage(1_000, 100))
    assert collector.spent("watched:s") == (expected, 1_100, 1, 0)


def test_a_model_without_a_price_is_counted_at_nothing(collector, http):
    assert send(http, {**WATCHED, "model": "nobody's"}).json()["accepted"] == 1
    assert collector.spent("watched:s") == (0, 1_100, 1, 0)


def test_quotawatch_s_events_are_kept_and_cost_nothing(collector):
    document = {"projectApiKey": "key", "events": [SEEN, SEEN]}
    answer = httpx.post(f"{collector.url}/v1/ingest", json=document)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert collector.events == [SEEN, SEEN]
    assert collector.ledger.accounts() == []


def test_what_is_sent_twice_counts_once(collector, http):
    for _ in range(3):
        send(http, {"events": [CALL]})
    send(http, {"events": [{**CALL, "cost": 0.5}]})
    assert collector.spent("watched:s").usd == 750_000_000


def test_a_model_that_got_a_price_meanwhile_is_not_charged_again(collector, http, penny):
    asked = {**WATCHED, "model": "penny"}
    send(http, asked)
    before = collector.spent("watched:s")
    from budget_core import register_model

    register_model("penny", 1, 20)
    assert send(http, asked).status_code == 202
    assert collector.spent("watched:s") == before


def test_numbers_that_json_has_not_are_none(collector, http):
    body = b'{"events": [{"type": "warning", "at": NaN, "left": -Infinity}]}'
    assert http.post("/v1/ingest", content=body).json()["accepted"] == 1
    assert collector.events == [{"type": "warning", "at": None, "left": None}]


def test_money_that_a_shared_ledger_has_counted_is_not_counted_again(collector, http):
    send(http, {"events": [{**CALL, "ledger": "shared"}, {**WATCHED, "ledger": "shared"}]})
    assert len(collector.events) == 2
    assert collector.ledger.accounts() == []


@pytest.mark.parametrize(
    "event",
    [
        7,
        {**CALL, "cost": -1},
        {**CALL, "cost": "much"},
        {**CALL, "cost": float("1e308")},
        {**CALL, "usage": 7},
        {**CALL, "usage": {"input": -1}},
        {**CALL, "session_id": None},
        {**CALL, "session_id": "s" * 201},
        {**CALL, "session_id": "\ud800"},
        {**CALL, "team": "\udfff"},
        {**CALL, "team": 7},
        {**WATCHED, "prompt_tokens": "1000"},
        {**WATCHED, "prompt_tokens": 10**12},
        {**WATCHED, "session_id": ""},
        {**WATCHED, "cost_usd": True},
    ],
)
def test_an_event_that_cannot_be_read_is_left_out(collector, http, event):
    answer = http.post("/v1/ingest", content=json.dumps({"events": [event, CALL]}))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": 1})
    assert collector.spent("watched:s").usd == 250_000_000


class TestRefusing:
    @pytest.mark.parametrize(
        "headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic key"}]
    )
    def test_who_has_no_key(self, collector, headers):
        with httpx.Client(base_url=collector.url, headers=headers) as http:
            for answer in (send(http, CALL), http.get("/v1/budget-check?session_id=s")):
                assert answer.status_code == 401
                assert "API key" in answer.json()["error"]
        assert collector.ledger.accounts() == []

    def test_a_key_in_the_body_asks_no_check(self, collector):
        answer = httpx.post(
            f"{collector.url}/v1/ingest", json={"projectApiKey": "other", "events": []}
        )
        assert answer.status_code == 401

    def test_a_key_that_is_no_text(self, collector):
        body = b'{"projectApiKey": "\\ud800", "events": []}'
        assert httpx.post(f"{collector.url}/v1/ingest", content=body).status_code == 401

    def test_a_key_that_is_everybody_s(self):
        with pytest.raises(ValueError, match="must not be empty"):
            build_app(MemoryLedger(), keys=["key", ""])

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[]", b'"text"', b'{"events": {}}', b"\xff", b"[" * 500_000,
            b'{"a":' * 100_000, b'{"events": [%b]}' % (b"1" * 5_000),
        ],
    )  # fmt: skip
    def test_what_is_no_batch(self, http, body):
        answer = http.post("/v1/ingest", content=body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    def test_a_body_that_does_not_come(self):
        runner = Runner(build_app(MemoryLedger(), patience=0.1))
        runner.start()
        with socket.create_connection(("127.0.0.1", runner.port), 20) as slow:
            slow.sendall(b"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            assert slow.recv(99).startswith(b"HTTP/1.1 408")
        runner.stop()

    def test_too_many_events(self, http):
        assert send(http, {"events": [1] * 5_001}).status_code == 400

    def test_a_body_that_is_too_large_is_not_read_to_its_end(self, collector, http):
        sent = 0

        def endless():
            nonlocal sent
            while True:
                sent += 100_000
                yield b" " * 100_000

        assert http.post("/v1/ingest", content=b" " * 1_000_001).status_code == 413
        with suppress(httpx.WriteError):  # the answer may come while more is sent
            assert http.post("/v1/ingest", content=endless()).status_code == 413
        assert 1_000_000 < sent < 100_000_000
        assert http.get("/healthz").json() == {"status": "ok"}

    @pytest.mark.parametrize("asked", [{}, {"session_id": "s", "limit_usd": "much"}])
    def test_a_check_that_asks_nothing(self, http, asked):
        assert http.get("/v1/budget-check", params=asked).status_code == 400

    def test_a_ledger_that_is_away(self):
        class Away(MemoryLedger):
            def balance(self, account):
                raise LedgerUnavailable("connection refused")

        runner = Runner(build_app(Away()))
        runner.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{runner.port}") as http:
            for answer in (send(http, CALL), http.get("/v1/budget-check?session_id=s")):
                assert answer.status_code == 503
                assert "connection refused" in answer.json()["error"]
        runner.stop()


class TestRefusingEarly:
    """What is sent without a key is not waited for: all but the beginning is missing here."""

    @staticmethod
    def answered(collector, sent, headers=()):
        with socket.create_connection(
            ("127.0.0.1", int(collector.url.rpartition(":")[2])), 20
        ) as raw:
            lines = ["POST /v1/ingest HTTP/1.1", "Host: x", "Content-Length: 900000", *headers]
            raw.sendall("\r\n".join([*lines, "", sent]).encode())
            answer = b""
            while chunk := raw.recv(9_999):
                answer += chunk
            return answer

    @pytest.mark.parametrize("token", ["other", ""])
    def test_a_wrong_key_in_the_headers(self, collector, token):
        answer = self.answered(collector, "{", [f"Authorization: Bearer {token}"])
        assert answer.startswith(b"HTTP/1.1 401")

    @pytest.mark.parametrize(
        "beginning", ["", '"projectApiKey": "other",', '"projectApiKey": "\\ud800",']
    )
    def test_a_wrong_key_or_none_in_the_body(self, collector, beginning):
        answer = self.answered(collector, "{" + beginning + " " * 5_000)
        assert answer.startswith(b"HTTP/1.1 401")

    def test_a_length_that_is_too_much(self, collector):
        key = ["Authorization: Bearer key", "Content-Length: 1000001"]
        with socket.create_connection(
            ("127.0.0.1", int(collector.url.rpartition(":")[2])), 20
        ) as raw:
            raw.sendall("\r\n".join(["POST /v1/ingest HTTP/1.1", "Host: x", *key, "", ""]).encode())
            assert raw.recv(99).startswith(b"HTTP/1.1 413")

    def test_a_long_body_with_its_key_at_its_beginning_is_read(self, collector):
        document = {"projectApiKey": "key", "events": [SEEN] * 1_000}
        answer = httpx.post(f"{collector.url}/v1/ingest", json=document)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1_000)

    def test_a_key_in_a_text_within_the_body_is_no_key(self, collector):
        events = [{"note": '"projectApiKey": "key"'}, {"projectApiKey": "key"}]
        document = json.dumps({"events": events, "rest": "x" * 9_000})
        answer = httpx.post(f"{collector.url}/v1/ingest", content=document)
        assert answer.status_code == 401


def test_a_name_that_no_ledger_takes_is_the_client_s_fault(http):
    event = {**CALL, "session_id": "\U0001f600" * 200}
    told = send(http, {"events": [event, CALL]}).json()
    assert told["accepted"] + told["rejected"] == 2
    assert told["accepted"] >= 1
    assert http.get("/v1/budget-check", params={"session_id": "x" * 9_000}).status_code in {
        200,
        400,
    }


def test_an_event_that_cannot_be_booked_is_rejected_alone():
    class Picky(MemoryLedger):
        def charge(self, charge_id, accounts, amounts, *, final=None):
            if "watched:bad" in accounts:
                raise OverflowError("beyond what can be kept")
            return super().charge(charge_id, accounts, amounts, final=final)

    ledger = Picky()
    runner = Runner(build_app(ledger))
    runner.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{runner.port}") as http:
        events = [CALL, {**CALL, "session_id": "bad"}, {**CALL, "session_id": "t"}]
        answer = send(http, {"events": events})
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "rejected": 1})
    runner.stop()
    assert ledger.balance("team:growth").spent.usd == 500_000_000


class TestChecking:
    def test_a_session_that_nobody_knows_has_spent_nothing(self, http):
        assert check(http, session_id="s", limit_usd=2) == {
            "session_id": "s", "account": "s", "exceeded": False, "spent_usd": 0.0,
            "limit_usd": 2.0, "remaining_usd": 2.0,
        }  # fmt: skip

    def test_a_session_against_its_own_limit(self, http):
        send(http, CALL)
        assert check(http, session_id="s", limit_usd=1)["remaining_usd"] == 0.75
        told = check(http, session_id="s", limit_usd="0.25")
        assert (told["exceeded"], told["spent_usd"]) == (True, 0.25)
        assert check(http, session_id="s")["limit_usd"] is None

    @pytest.mark.parametrize("limits", [("$0.20",), ("$9", "$0.20/month")])
    def test_a_team_that_has_spent_its_budget(self, collector, http, limits):
        declare("team:growth", *limits, ledger=collector.ledger)
        assert not check(http, session_id="other", limit_usd=1, team="growth")["exceeded"]
        send(http, CALL)
        told = check(http, session_id="other", limit_usd=1, team="growth")
        assert (told["exceeded"], told["account"]) == (True, "team:growth")
        assert (told["spent_usd"], told["limit_usd"]) == (0.25, 0.2)
        assert not check(http, session_id="other", limit_usd=1)["exceeded"]

    def test_a_team_that_nobody_knows(self, http):
        assert not check(http, session_id="s", limit_usd=1, team="nobody")["exceeded"]


def test_a_ledger_that_blocks_is_asked_in_a_thread(tmp_path):
    from budget_core.ledger import ledger_from

    ledger = ledger_from(f"sqlite:///{tmp_path}/budgets.db")
    runner = Runner(build_app(ledger))
    runner.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{runner.port}") as http:
        assert send(http, CALL).status_code == 202
        assert check(http, session_id="s", limit_usd=1)["spent_usd"] == 0.25
    runner.stop()
    assert ledger.verify() == []
    ledger.close_connection()
