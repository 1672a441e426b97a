"""What holds on every ledger, whatever happens: one test for each promise."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.budget_core.ledger.clocks import shift

from budget_core import AgentBudget, CallRequest, UnknownModel
from budget_core.errors import BudgetExhausted, HoldConflict, LoopDetected
from budget_core.ledger import Account, Denial, Hold, new_id
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits

LEAVES = ("a1", "a2", "b1", "b2")
ABOVE = {"a": ("root",), "b": ("root",), "root": ()} | {leaf: (leaf[0], "root") for leaf in LEAVES}


def usd(amount):
    return Amounts(usd=amount)


def account(name, limit, parent=None, **options):
    return Account(name, parent, Limits((Limit("usd", limit),)), **options)


@pytest.fixture
def tree(ledger):
    """A root of 1,000, two branches of 600 with two leaves of 400 each."""
    ledger.open(account("root", 1_000))
    for name, (parent, *_) in ((name, above) for name, above in ABOVE.items() if above):
        ledger.open(account(name, 600 if len(name) == 1 else 400, parent))
    return ledger


def standing(ledger):
    return {name: ledger.balance(name) for name in ABOVE}


def busy(ledger, turns=60, seed=1):
    """Do what calls do, at random; yield after each step what was held and not ended yet."""
    chance, live = random.Random(seed), {}
    for _ in range(turns):
        if live and chance.random() < 0.5:
            key, (leaf, amount) = live.popitem()
            if chance.random() < 0.2:
                ledger.release(key)
            else:
                ledger.commit(key, usd(chance.randrange(amount + 5)), [leaf])
        else:
            leaf, amount = chance.choice(LEAVES), chance.randrange(1, 80)
            hold = ledger.reserve(new_id(), [leaf], usd(amount))
            if isinstance(hold, Hold):
                live[hold.id] = (leaf, amount)
        yield dict(live)


def test_spent_and_reserved_stay_within_the_limit_but_for_a_recorded_overage(tree):
    beyond = 0
    for _ in busy(tree):
        beyond = sum(max(0, e.amounts.usd - e.held.usd) for e in tree.entries("root"))
        for balance in standing(tree).values():
            limit = balance.limits.lifelong("usd")
            assert balance.spent.usd + balance.reserved.usd <= limit + beyond
            assert balance.overage() == max(0, balance.spent.usd - limit)
    tree.charge(new_id(), ["a1"], usd(500))
    assert tree.balance("a1").overage() > 0
    assert isinstance(tree.reserve(new_id(), ["a1"], ZERO), Denial)


def test_an_account_spends_what_it_and_its_children_spent_and_never_less(tree):
    before = dict.fromkeys(ABOVE, 0)
    for live in busy(tree):
        now = standing(tree)
        for branch in ("a", "b"):
            below = [now[leaf].spent.usd for leaf in LEAVES if leaf[0] == branch]
            assert now[branch].spent.usd == sum(below)
        assert now["root"].spent.usd == now["a"].spent.usd + now["b"].spent.usd
        for name, balance in now.items():
            through = [x for leaf, x in live.values() if name in (leaf, *ABOVE[leaf])]
            assert balance.reserved.usd == sum(through)
            assert balance.spent.usd >= before[name]
            before[name] = balance.spent.usd


def test_a_reserve_takes_everything_on_the_way_or_nothing(tree):
    tree.charge(new_id(), ["a2"], usd(395))
    tree.reserve(new_id(), ["b1"], usd(150))
    tree.charge(new_id(), ["b2"], usd(300))
    before = standing(tree)
    for accounts, amount, blocking in (
        (["a1"], 156, "root"),
        (["b1"], 151, "b"),
        (["a2"], 6, "a2"),
        (["a1", "a2"], 6, "a2"),
    ):
        denial = tree.reserve(new_id(), accounts, usd(amount))
        assert isinstance(denial, Denial)
        assert denial.account == blocking
        assert (denial.spent, denial.requested) == (before[blocking].spent.usd, amount)
        assert standing(tree) == before


def test_a_hold_ends_once_and_the_same_again_is_the_stored_answer(tree):
    hold = tree.reserve(new_id(), ["a1"], usd(10))
    assert tree.reserve(hold.id, ["a1"], usd(10)) == hold
    with pytest.raises(HoldConflict):
        tree.reserve(hold.id, ["a1"], usd(11))
    entry = tree.commit(hold.id, usd(7), ["a1"])
    assert tree.commit(hold.id, usd(7), ["a1"]) == entry
    assert tree.release(hold.id) == entry
    with pytest.raises(HoldConflict):
        tree.commit(hold.id, usd(8), ["a1"])
    assert [each.id for each in tree.entries("a1")] == [hold.id]
    assert tree.balance("root").spent.usd == 7


def test_a_commit_never_loses_what_was_spent(tree):
    more = tree.reserve(new_id(), ["a1"], usd(10)).id
    assert tree.commit(more, usd(30), ["a1"]).amounts.usd == 30
    released = tree.reserve(new_id(), ["a1"], usd(10)).id
    tree.release(released)
    assert tree.commit(released, usd(20), ["a1"]).late
    outlived = tree.reserve(new_id(), ["a1"], usd(10)).id
    tree.close("a1")
    assert not tree.commit(outlived, usd(9), ["a1"]).late
    over = tree.charge(new_id(), ["a1"], usd(400))
    assert (over.over.account, over.over.spent, over.over.limit) == ("a1", 459, 400)
    assert [b.spent.usd for b in map(tree.balance, ("a1", "a", "root"))] == [459] * 3
    assert tree.verify() == []


def test_an_expiry_frees_what_was_held_and_never_what_was_spent(store):
    dead, alive = store(on_expiry="release"), store()
    dead.open(account("a", 100))
    dead.charge(new_id(), ["a"], usd(30))
    held = dead.reserve(new_id(), ["a"], usd(50)).id
    shift(alive, 61)
    balance = alive.balance("a")
    assert (balance.spent.usd, balance.reserved.usd) == (30, 0)
    assert dead.commit(held, usd(40), ["a"]).late
    assert alive.balance("a").spent.usd == 70


def test_the_finalization_reserve_serves_the_last_call_only(ledger):
    ledger.open(account("root", 100))
    ledger.open(account("a", 50, "root", reserve=usd(10)))
    ledger.open(account("b", 100, "root"))
    assert isinstance(ledger.reserve(new_id(), ["a"], usd(41)), Denial)
    assert isinstance(ledger.reserve(new_id(), ["b"], usd(91)), Denial)
    ledger.reserve(new_id(), ["b"], usd(50))
    ledger.reserve(new_id(), ["a"], usd(40))
    assert isinstance(ledger.reserve(new_id(), ["a"], usd(10)), Denial)
    last = ledger.reserve(new_id(), ["a"], usd(10), final="a")
    assert isinstance(last, Hold)
    assert isinstance(ledger.reserve(new_id(), ["a"], ZERO, final="a"), Denial)
    ledger.commit(last.id, usd(10), ["a"])
    assert ledger.balance("a").state == "finalized"


def test_limits_that_are_reached_are_told_once_each_whoever_races(ledger):
    told = []
    budget = AgentBudget(
        "$1", soft_limit=0.5, ledger=ledger, max_repeated_calls=None,
        on_soft_limit=lambda *_: told.append("soft"), on_hard_limit=lambda *_: told.append("hard"),
    )  # fmt: skip
    with budget.session("s") as session:

        def pay(_):
            try:
                session.track(None, cost="$0.01", tool_name="search")
            except BudgetExhausted:
                return 1
            return 0

        with ThreadPoolExecutor(16) as pool:
            refused = sum(pool.map(pay, range(120)))
        assert refused > 0
        assert session.spent == pytest.approx(1.2)
    assert sorted(told) == ["hard", "soft"]
    with AgentBudget("$1", ledger=ledger, max_repeated_calls=3).session("t") as session:
        request = CallRequest(kind="tool", name="search", fingerprint="x")
        with pytest.raises(LoopDetected):  # noqa: PT012
            for _ in range(9):
                session.open_call(request).release()


def test_amounts_are_integers_everywhere(tree):
    for _ in busy(tree, 20):
        pass

    def integers(value):
        if isinstance(value, tuple):
            return all(map(integers, value))
        return type(value) is int

    for balance in tree.accounts():
        assert integers((balance.spent, balance.reserved, balance.kept_back))
    for entry in tree.entries():
        assert integers((entry.held, entry.amounts, entry.after))
    big = 2**52 + 1
    tree.open(account("big", 2**53 - 1))
    tree.charge(new_id(), ["big"], usd(big))
    assert tree.balance("big").spent.usd == big


def test_what_nobody_priced_is_refused_unless_that_was_said(ledger):
    request = CallRequest(model="nosuch")
    with AgentBudget("$1", ledger=ledger).session("s") as session:
        with pytest.raises(UnknownModel):
            session.open_call(request)
        assert session.spent == 0
    with AgentBudget("$1", ledger=ledger, unknown_model="allow").session("t") as session:
        session.open_call(request).release()
    assert ledger.holds() == []


def test_the_entries_come_to_the_balances(tree):
    for _ in busy(tree):
        assert tree.verify() == []
    for name in ABOVE:
        total = sum(entry.amounts.usd for entry in tree.entries(name))
        assert tree.balance(name).spent.usd == total


def test_a_clock_that_jumps_on_one_machine_decides_nothing(store, monkeypatch):
    here, there = store(), store()
    here.open(account("a", 100))
    held = here.reserve(new_id(), ["a"], usd(50)).id
    for jump in (-86_400, 86_400):
        monkeypatch.setattr("budget_core.ledger.clock.time", lambda jump=jump: time.time() + jump)
        assert there.balance("a").reserved.usd == 50
        assert [hold.hold.id for hold in there.holds()] == [held]
    assert not here.commit(held, usd(40), ["a"]).late
