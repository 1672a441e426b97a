import base64
import subprocess
import sys
import threading

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

import budget_core
from budget_core import AgentBudget, BudgetExhausted, InvalidBudget, MemoryLedger, TopUp
from budget_core.errors import LedgerUnavailable
from budget_core.events.webhook import Webhook, webhook

KEY = b"a secret that both sides know"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def exhaust(session):
    session.track(cost="0.95")
    with pytest.raises(BudgetExhausted):
        session.open_call(budget_core.CallRequest(kind="tool", name="t", cost=10**9))


@pytest.fixture
def hook(receiver):
    hook = webhook(receiver.url)
    yield hook
    receiver.over.set()
    hook.close(0)


@pytest.fixture
def budget(receiver, hook):
    return AgentBudget("$1", webhook_url=receiver.url, warning_thresholds=[50])


class TestBodies:
    def test_limits_and_warnings_come_with_the_report(self, budget, receiver, hook):
        session = budget.session("agent-1")
        exhaust(session)
        assert hook.flush(20)
        got = [one.json for one in receiver.all()]
        assert [one["event_type"] for one in got] == ["warning", "soft_limit", "hard_limit"]
        assert got[0]["session_id"] == got[0]["data"]["session_id"] == "agent-1"
        assert got[0]["data"]["total_spent"] == 0.95
        assert got[0]["details"]["threshold"] == 50
        assert got[1]["timestamp"] == session.events()[2].at

    def test_loops_too(self, receiver, hook):
        budget = AgentBudget("$1", webhook_url=receiver.url, max_repeated_calls=2)
        session = budget.session()
        request = budget_core.CallRequest(kind="tool", name="t", fingerprint=1)
        session.open_call(request).settle()
        with pytest.raises(budget_core.LoopDetected):
            session.open_call(request)
        assert receiver.next().json["event_type"] == "loop_detected"

    def test_init_takes_it_and_callbacks_are_called_as_well(self, receiver, hook):
        called = []
        with budget_core.init(
            "$1",
            webhook_url=receiver.url,
            warning_thresholds=[],
            on_soft_limit=called.append,
            on_hard_limit=lambda _: TopUp("$1"),
        ) as session:
            session.track(cost="0.95")
            session.open_call(budget_core.CallRequest(kind="tool", name="t", cost=10**9)).release()
        assert hook.flush(20)
        assert [one.json["event_type"] for one in receiver.all()] == ["soft_limit", "hard_limit"]
        assert len(called) == 1

    def test_what_a_call_costs_is_not_posted(self, budget, receiver, hook):
        budget.session().track(cost="0.01")
        assert hook.flush(20)
        assert receiver.got.empty()

    def test_while_the_ledger_is_away_what_happened_is_told_without(self, receiver, hook):
        class Away(MemoryLedger):
            def balance(self, account):
                if away:
                    raise LedgerUnavailable("away")
                return super().balance(account)

        away = []
        session = AgentBudget("$1", ledger=Away(), webhook_url=receiver.url).session()
        away.append(1)
        session.track(cost="0.9")
        assert hook.flush(20)
        (*_, got) = receiver.all()
        assert (got.json["event_type"], got.json["data"]) == ("soft_limit", {})


class TestSignatures:
    @pytest.mark.parametrize("secret", [SECRET, KEY.decode()])
    def test_others_can_verify_them(self, receiver, secret):
        hook = webhook(receiver.url, secret)
        exhaust(AgentBudget("$1", webhook_url=receiver.url, webhook_secret=secret).session())
        assert hook.close(20)
        got = receiver.next()
        body = Verifier(KEY).verify(got.body, got.headers)
        assert body["event_type"] == "warning"
        with pytest.raises(WebhookVerificationError):
            Verifier(KEY).verify(got.body + b" ", got.headers)

    def test_another_attempt_is_the_same_message(self, receiver):
        receiver.answers += [503]
        hook = Webhook(receiver.url, secret=SECRET, pause=0.001)
        AgentBudget("$1", listeners=[hook], warning_thresholds=[]).session().track(cost="0.9")
        assert hook.close(20)
        first, second = receiver.all()
        assert first.headers["Webhook-Id"] == second.headers["Webhook-Id"]
        assert first.body == second.body
        assert hook.counts == (1, 0, 0, 1)

    def test_without_a_secret_there_is_none(self, budget, receiver, hook):
        exhaust(budget.session())
        headers = receiver.next().headers
        assert "Webhook-Id" in headers
        assert "Webhook-Signature" not in headers

    @pytest.mark.parametrize("wrong", ["", "whsec_", "whsec_%hush"])
    def test_what_is_no_secret_is_refused(self, receiver, wrong):
        with pytest.raises(InvalidBudget, match="webhook_secret=") as caught:
            AgentBudget("$1", webhook_url=receiver.url, webhook_secret=wrong)
        assert "hush" not in str(caught.value)


class TestFaults:
    @pytest.mark.parametrize("answers", [[500] * 9, [None], [302] * 3])
    def test_no_call_waits_or_fails_for_one_that_fails(self, budget, receiver, answers, hook):
        receiver.answers += answers
        session = budget.session()
        exhaust(session)  # while it hangs, it is not over: nothing below would be reached
        assert session.spent == 0.95
        assert hook.counts.sent == 0

    def test_nor_for_one_that_is_down(self, receiver, caplog):
        receiver.server_close()
        hook = Webhook(f"{receiver.url}services/hush", pause=0.001)
        exhaust(AgentBudget("$1", listeners=[hook], warning_thresholds=[]).session())
        assert hook.close(20)
        assert hook.counts == (0, 2, 0, 8)
        assert "hush" not in caplog.text

    def test_budgets_of_one_receiver_share_its_thread(self, receiver):
        assert webhook(receiver.url) is webhook(receiver.url)
        assert webhook(receiver.url, "other") is not webhook(receiver.url)

    def test_also_if_they_are_made_at_the_same_time(self, receiver):
        made, together = [], threading.Barrier(8)

        def make():
            together.wait()
            made.append(webhook(receiver.url))

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=make) for _ in range(8)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert len(set(map(id, made))) == 1


@pytest.mark.parametrize("url", ["", "example.com/hush", "https://"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InvalidBudget) as caught:
        AgentBudget("$1", webhook_url=url)
    assert "hush" not in str(caught.value)


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys; sys.modules['tenacity'] = None\n"
        "from budget_core import AgentBudget\n"
        "AgentBudget('$1')\n"
        "try: AgentBudget('$1', webhook_url='https://example.com')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "Sending events needs tenacity: pip install 'budget-suite[events]'\n"
