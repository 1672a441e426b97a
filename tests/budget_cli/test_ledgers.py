"""The commands on a ledger: what people and programs see of it."""

import json

import pytest

from budget_core import AgentBudget, CallRequest, MemoryLedger, hooks
from budget_core.ledger import ledger_from


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("BUDGET_LEDGER", f"sqlite:///{tmp_path}/budgets.db")
    return f"sqlite:///{tmp_path}/budgets.db"


@pytest.fixture
def team(budget, url):
    assert budget("account", "set", "team:growth", "$500/month", "$9000").exit_code == 0
    ledger = ledger_from(url)
    session = AgentBudget("$5", ledger=ledger, parent="team:growth").session("thread-42")
    yield session
    ledger.close_connection()


def told(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_accounts(budget, team):
    team.track(cost=1.25)
    growth, thread = told(budget("accounts", "--json"))
    assert (growth["account"], thread["account"]) == ("team:growth", "thread-42")
    assert growth["limits"] == ["$500.00/month", "$9,000.00"]
    assert growth["spent"] == {
        "usd_nanos": 1_250_000_000, "tokens": 0, "llm_calls": 0, "tool_calls": 1
    }  # fmt: skip
    assert growth["windows"][0]["spent"] == 1_250_000_000
    assert thread["remaining_nanos"] == 3_750_000_000
    shown = budget("accounts").stdout
    assert "$500.00/month" in shown
    assert "$8,998.75" in shown


def test_holds(budget, team):
    call = team.open_call(CallRequest(kind="tool", name="t", cost=10**9))
    (hold,) = told(budget("holds", "team:growth", "--json"))
    assert (hold["id"], hold["amounts"]["usd_nanos"]) == (call.id, 10**9)
    assert 0 < hold["expires_in_seconds"] <= 60
    assert told(budget("holds", "nobody", "--json")) == []
    assert "$1.00, 1 tool call" in budget("holds").stdout


def test_entries(budget, team):
    for cost in (0.25, 0.5, 9):
        team.record(CallRequest(kind="tool", name="t"), amounts=_usd(cost))
    last = told(budget("entries", "thread-42", "--last", "2", "--json"))
    assert [entry["amounts"]["usd_nanos"] for entry in last] == [500_000_000, 9_000_000_000]
    assert last[-1]["over"] == "thread-42"
    assert len(told(budget("entries", "--json", "--last", "0"))) == 3
    assert "over" in budget("entries").stdout


def _usd(dollars):
    from budget_core.money.amounts import Amounts

    return Amounts(usd=int(dollars * 10**9))


def test_names_are_shown_as_they_are(budget, url):
    name = "[/team] [red]'x'"
    with AgentBudget("$5", ledger=url).session(name) as session:
        session.track(cost=1)
        session.open_call(CallRequest(kind="tool", name="t", cost=10**9))
        for command in ("accounts", "holds", "entries"):
            done = budget(command)
            assert done.exit_code == 0, done.output
            assert name in done.stdout
    assert budget("verify").exit_code == 0


def test_verify(budget, team):
    assert told(budget("verify", "--json")) == {"accounts": 2, "faults": []}
    assert "2 accounts agree" in budget("verify").stdout
    connection = team.ledger.inner.database.connection()
    connection.execute("UPDATE account SET spent_usd = 7 WHERE id = 'thread-42'")
    done = budget("verify")
    assert done.exit_code == 1
    assert "thread-42: spent" in done.stdout


@pytest.mark.usefixtures("team")
def test_verify_shows_how_far_it_is_where_there_is_a_terminal(budget, monkeypatch):
    assert "Replaying" not in budget("verify").stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "Replaying" in budget("verify").stderr
    assert "Replaying" not in budget("verify", "--json").stderr


def test_top_up(budget, team):
    assert "$7.00 in all" in budget("top-up", "thread-42", "$2").stdout
    assert team.remaining == 7
    assert told(budget("top-up", "thread-42", "1", "--json"))["remaining_nanos"] == 8 * 10**9
    budget("account", "set", "windowed", "$1/day")
    done = budget("top-up", "windowed", "1")
    assert (done.exit_code, "budget account set windowed" in done.stderr) == (1, True)


def test_cancel(budget, team):
    assert "refused" in budget("cancel", "team:growth").stdout
    assert told(budget("cancel", "thread-42", "--json"))["state"] == "cancelled"
    assert team.would_exceed(0.01)


def test_account_set_again_changes_its_limits_and_keeps_its_place(budget, team):
    budget("account", "set", "team:growth:eu", "$5", "--parent", "team:growth")
    changed = told(budget("account", "set", "team:growth:eu", "$6", "2M tokens/day", "--json"))
    assert changed["limits"] == ["$6.00", "2,000,000 tokens/day"]
    assert team.ledger.describe("team:growth:eu").parent == "team:growth"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("top-up", "nobody", "1"), "has no account 'nobody'. It has team:growth"),
        (("cancel", "nobody"), "has no account 'nobody'"),
        (("top-up", "thread-42", "much"), "much"),
        (("account", "set", "a", "$5/fortnight"), "fortnight"),
        (("account", "set", "a", "$5", "--parent", "nobody"), "nobody"),
        (("accounts", "--ledger", "nosuch://there"), "nosuch://there"),
        (("accounts", "--ledger", "sqlite:///not/there.db"), "there is no"),
    ],
)
def test_what_goes_wrong_is_said(budget, team, args, said):
    done = budget(*args)
    assert done.exit_code == 1
    assert said in done.stderr.replace("\n", " ")
    assert done.stdout == ""


def test_without_a_ledger_it_asks_which(budget, monkeypatch):
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)
    assert "which ledger?" in budget("verify").stderr


def test_a_ledger_of_a_plugins_will_do(budget):
    ledger = MemoryLedger()

    class Plugin:
        @hooks.hookimpl
        def budget_ledger(self, request):
            return ledger if request.url == "mine://" else None

    plugin = Plugin()
    hooks.register(plugin)
    try:
        budget("account", "set", "a", "$5", "--ledger", "mine://")
        (account,) = told(budget("accounts", "--ledger", "mine://", "--json"))
        assert account["remaining_nanos"] == 5 * 10**9
    finally:
        hooks.unregister(plugin)
