"""What a collector charges is in every ledger what was reported."""

import pytest

from budget_cli.collector.payloads import Spend
from budget_cli.collector.spending import Spending
from budget_core import AgentBudget, BudgetExhausted, CallRequest, declare
from budget_core.errors import AccountConflict
from budget_core.ledger import Account, new_id
from budget_core.money.amounts import Amounts


def test_reports_are_charged_once(ledger):
    spends = [
        Spend("a", "s", "growth", 250_000_000, 15, "llm"),
        Spend("b", "s", None, 1_000_000, 0, "tool"),
    ]
    for _ in range(2):
        Spending(ledger).charge(spends)
    assert ledger.balance("watched:s").spent == (251_000_000, 15, 1, 1)
    assert ledger.balance("team:growth").spent == (250_000_000, 15, 1, 0)


def test_a_team_that_was_reported_first_takes_the_first_terms_that_are_declared(ledger):
    Spending(ledger).charge([Spend("a", "s", "growth", 250_000_000, 15, "llm")])
    balance = declare("team:growth", "$5", "$1/day", ledger=ledger)
    assert balance.limits.lifelong("usd") == 5_000_000_000
    assert balance.spent.usd == 250_000_000
    assert ledger.describe("team:growth").lasts == "standing"
    declare("team:growth", "$5", "$1/day", ledger=ledger)
    with pytest.raises(AccountConflict):
        declare("team:growth", "$6", ledger=ledger)
    Spending(ledger).charge([Spend("b", "s", "growth", 5_000_000_000, 0, "llm")])
    assert ledger.balance("team:growth").limits.lifelong("usd") == 5_000_000_000
    with (
        pytest.raises(BudgetExhausted),
        AgentBudget("$1", ledger=ledger, parent="team:growth").session() as session,
    ):
        session.open_call(CallRequest(kind="tool", name="search", cost=10_000_000))
    assert ledger.verify() == []


def test_terms_that_say_nothing_are_terms(ledger):
    Spending(ledger).charge([Spend("a", "s", "growth", 1, 0, "llm")])
    declare("team:growth", ledger=ledger)
    assert ledger.describe("team:growth").lasts == "standing"
    with pytest.raises(AccountConflict):
        declare("team:growth", "$5", ledger=ledger)


def test_terms_that_were_declared_before_stay(ledger):
    declare("team:growth", "$5", ledger=ledger)
    ledger.open(Account("team:growth", lasts="implied"))
    assert ledger.balance("team:growth").limits.lifelong("usd") == 5_000_000_000
    assert ledger.describe("team:growth").lasts == "standing"


def test_what_cannot_be_booked_is_rejected_alone(ledger):
    spends = [
        Spend("a", "s", None, 1, 0, "llm"),
        Spend("b", "\ud800", None, 1, 0, "llm"),
        None,
        Spend("c", "s", "growth", 1, 0, "llm"),
    ]
    booked = Spending(ledger).charge(spends)
    assert [booked[0], *booked[2:]] == [True, True, True]
    assert ledger.balance("watched:s").spent.usd == 2
    assert ledger.verify() == []


@pytest.mark.parametrize("state", ["cancelled", "finalized", "closed"])
@pytest.mark.parametrize("limits", [(), ("$5",)])
def test_a_charge_after_the_end_is_recorded_and_tells_of_it(ledger, state, limits):
    declare("root", *limits, ledger=ledger)
    ledger.open(Account("root/a", "root"))
    before = ledger.charge("before", ["root/a"], Amounts(1_000_000_000))
    assert before.over is None
    for account in ("root", "root/a"):
        ledger.close(account, state)
    entry = ledger.charge("after", ["root/a"], Amounts(2_000_000_000))
    assert (entry.over.account, entry.over.state) == ("root/a", state)
    assert entry.over.spent <= entry.over.limit
    assert ledger.charge("after", ["root/a"], Amounts(2_000_000_000)) == entry
    assert ledger.balance("root").spent.usd == 3_000_000_000
    hold = new_id()
    assert ledger.commit(hold, Amounts(1), ["root/a"]).late
    assert list(ledger.entries("root"))[1].over == entry.over
    assert ledger.verify() == []
