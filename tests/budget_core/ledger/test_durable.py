"""What ledgers that outlive a process promise besides the contract. Each `store()` is a process."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.budget_core.ledger.clocks import shift

from budget_core import AgentBudget, declare
from budget_core.errors import AccountConflict, HoldConflict, InvalidBudget
from budget_core.ledger import Account, Denial, Hold, new_id
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.resilient.ledger import resilient
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits

DEAD = 61.0


def usd(amount, **others):
    return Amounts(usd=amount, **others)


def account(name, limit=None, parent=None, **options):
    limits = Limits() if limit is None else Limits((Limit("usd", limit),))
    return Account(name, parent, limits, **options)


def money(ledger, *accounts):
    return [(ledger.balance(a).spent.usd, ledger.balance(a).reserved.usd) for a in accounts]


def held(ledger, amount, *accounts, **options):
    answer = ledger.reserve(new_id(), accounts, usd(amount), **options)
    assert isinstance(answer, Hold), answer
    return answer.id


def later(ledger, seconds):
    """Let `seconds` pass by the backend's clock, as `ledger` sees it."""
    shift(ledger, seconds)


class TestSharing:
    def test_another_process_sees_every_change(self, store):
        here, there = store(), store()
        here.open(account("root", 10))
        there.open(account("a", 8, "root"))
        hold = held(there, 5, "a")
        assert money(here, "a", "root") == [(0, 5), (0, 5)]
        here.commit(hold, usd(3), ["a"])
        assert money(there, "a", "root") == [(3, 0), (3, 0)]
        assert held(there, 5, "a")
        assert isinstance(here.reserve(new_id(), ["root"], usd(3)), Denial)
        assert here.verify() == there.verify() == []

    def test_an_answer_is_the_same_for_whoever_asks_again(self, store):
        here, there = store(), store()
        here.open(account("a", 10))
        hold = held(here, 5, "a")
        entry = here.commit(hold, usd(3), ["a"])
        assert there.commit(hold, usd(3), ["a"]) == entry
        assert there.release(hold) == entry
        with pytest.raises(HoldConflict):
            there.commit(hold, usd(4), ["a"])
        assert money(there, "a") == [(3, 0)]

    def test_the_last_money_goes_to_one(self, store):
        ledgers = [store() for _ in range(4)]
        ledgers[0].open(account("a", 10))
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(lambda n: ledgers[n % 4].reserve(new_id(), ["a"], usd(1)), range(40))
            )
        assert sum(isinstance(answer, Hold) for answer in answers) == 10
        assert money(ledgers[1], "a") == [(0, 10)]

    def test_holds_and_accounts_can_be_looked_at(self, store):
        here, there = store(), store()
        here.open(account("root", 10))
        here.open(account("a", 8, "root", lasts="standing"))
        hold = held(here, 5, "a")
        (view,) = there.holds("root")
        assert (view.hold.id, view.hold.amounts, view.hold.accounts) == (hold, usd(5), ("a",))
        assert 0 < view.expires_in <= 60
        assert there.holds("nobody") == []
        assert [balance.account for balance in there.accounts()] == ["a", "root"]
        assert there.describe("a") == account("a", 8, "root")
        assert there.describe("a").lasts == "standing"


class TestAccounts:
    def test_a_name_goes_on_with_its_spend(self, store):
        store().open(account("a", 10))
        store().charge(new_id(), ["a"], usd(4))
        assert store().open(account("a", 10)).spent == usd(4)

    def test_other_limits_are_a_conflict_unless_they_are_meant(self, store):
        store().open(account("a", 10))
        store().charge(new_id(), ["a"], usd(4))
        with pytest.raises(AccountConflict, match="update=True"):
            store().open(account("a", 12))
        balance = store().open(account("a", 12), update=True)
        assert (balance.remaining(), balance.spent) == (8, usd(4))
        assert store().open(account("a", 12)).remaining() == 8
        assert store().verify() == []

    @pytest.mark.parametrize(
        "moved", [account("a", 10), account("a", 10, "root", allocated=True)], ids=["up", "fixed"]
    )
    def test_another_parent_is_always_a_conflict(self, store, moved):
        ledger = store()
        ledger.open(account("root", 20))
        ledger.open(account("a", 10, "root"))
        with pytest.raises(AccountConflict):
            ledger.open(moved, update=True)

    def test_limits_may_be_lowered_below_what_is_spent(self, store):
        ledger = store()
        ledger.open(account("a", 10))
        ledger.charge(new_id(), ["a"], usd(6))
        hold = held(ledger, 3, "a")
        balance = store().open(account("a", 5), update=True)
        assert balance.overage() == 1
        assert ledger.verify() == []
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(0)), Denial)
        ledger.commit(hold, usd(2), ["a"])
        assert ledger.verify() == []

    def test_an_update_changes_what_is_set_aside_or_nothing(self, store):
        ledger = store()
        ledger.open(account("root", 10))
        ledger.open(account("a", 4, "root", allocated=True))
        ledger.open(account("a", 9, "root", allocated=True), update=True)
        assert money(ledger, "root") == [(0, 9)]
        assert isinstance(
            ledger.open(account("a", 11, "root", allocated=True), update=True), Denial
        )
        assert money(ledger, "root") == [(0, 9)]
        assert ledger.balance("a").remaining() == 9
        assert ledger.open(account("a", 9, "root", allocated=True))
        assert ledger.verify() == []

    def test_who_closes_closes_for_nobody_else(self, store):
        here, there = store(), store()
        here.open(account("a", 10))
        there.open(account("a", 10))
        here.close("a")
        held(there, 1, "a")
        there.close("a")
        assert there.balance("a").state == "closed"
        here.open(account("a", 10))
        here.close("a", "cancelled")
        assert there.reserve(new_id(), ["a"], usd(1)).state == "cancelled"

    def test_a_standing_account_is_closed_by_nobody_who_leaves(self, store):
        here, there = store(), store()
        here.open(account("team", 10, lasts="standing"))
        there.open(account("team", 10))
        there.close("team")
        assert here.balance("team").state == "open"

    def test_what_nobody_can_name_leaves_nothing(self, store):
        ledger = store()
        for n in range(5):
            name = f"run{n}"
            ledger.open(account(name, 10, lasts="run"))
            ledger.open(account(f"{name}/child", 10, name, lasts="run"))
            ledger.commit(held(ledger, 2, f"{name}/child"), usd(1), [f"{name}/child"])
            ledger.forget(name)
            ledger.forget(f"{name}/child")
        ledger.open(account("named", 10))
        assert [balance.account for balance in ledger.accounts()] == ["named"]
        assert leftovers(ledger) == 0

    def test_what_named_accounts_paid_for_it_stays(self, store):
        ledger = store()
        ledger.open(account("team", 10, lasts="standing"))
        ledger.open(account("run", 10, "team", lasts="run"))
        ledger.charge(new_id(), ["run"], usd(4))
        ledger.forget("run")
        assert money(ledger, "team") == [(4, 0)]
        assert [entry.amounts for entry in ledger.entries("team")] == [usd(4)]
        assert ledger.verify() == []

    def test_a_forgotten_account_is_kept_while_a_call_of_it_lives(self, store):
        ledger = store()
        ledger.open(account("run", 10, lasts="run"))
        hold = held(ledger, 4, "run")
        ledger.forget("run")
        assert ledger.verify() == []
        assert ledger.commit(hold, usd(3), ["run"]).amounts == usd(3)


def leftovers(ledger):
    """Count what is kept of accounts that cannot be named."""
    if hasattr(ledger, "database"):
        one = "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM entry) - 1"
        return ledger.database.connection().execute(one).fetchone()[0]
    client = ledger._functions.client
    prefix = ledger._functions._prefix
    return sum(client.hlen(f"{prefix}:{what}") - 1 for what in ("accounts", "cold"))


def test_what_is_charged_after_a_clock_was_set_back_counts_for_other_processes_too(store):
    here, there = store(), store()
    here.open(Account("a", None, Limits.of("$10/hour")))
    here.charge(new_id(), ["a"], usd(1))
    there.balance("a")
    later(here, -7_200)
    here.charge(new_id(), ["a"], usd(5))
    later(there, -7_200)
    assert there.balance("a").windows[0].spent == 6
    assert there.verify() == []


class TestExpiry:
    @pytest.mark.parametrize(("on_expiry", "spent"), [("charge", 4), ("release", 0)])
    def test_holds_of_a_process_that_is_dead_expire(self, store, on_expiry, spent):
        dead, alive = store(on_expiry=on_expiry), store()
        dead.open(account("root", 10))
        dead.open(account("a", 8, "root"))
        hold = held(dead, 4, "a")
        later(alive, DEAD)
        assert money(alive, "a", "root") == [(spent, 0)] * 2
        (entry,) = alive.entries("root")
        assert (entry.id, entry.kind, entry.held, entry.amounts) == (
            hold, "expire", usd(4), usd(spent)
        )  # fmt: skip
        assert alive.holds() == []
        assert alive.verify() == []

    def test_a_hold_lives_as_long_as_its_process(self, store):
        slow, alive = store(), store()
        slow.open(account("a", 10))
        hold = held(slow, 4, "a")
        for _ in range(5):
            for ledger in (slow, alive):
                later(ledger, 50)
            slow.beat()
            assert money(alive, "a") == [(0, 4)]
        assert not slow.commit(hold, usd(3), ["a"]).late

    def test_a_process_that_was_frozen_goes_on_if_nobody_noticed(self, store):
        frozen = store()
        frozen.open(account("a", 10))
        hold = held(frozen, 4, "a")
        later(frozen, 500)
        assert not frozen.commit(hold, usd(3), ["a"]).late

    @pytest.mark.parametrize(
        ("on_expiry", "cost", "spent", "added"),
        [("charge", 3, 4, 0), ("charge", 6, 6, 2), ("release", 3, 3, 3)],
    )
    def test_a_commit_after_that_is_late_and_nothing_is_paid_twice(
        self, store, on_expiry, cost, spent, added
    ):
        frozen, alive = store(on_expiry=on_expiry), store()
        frozen.open(account("a", 10))
        hold = held(frozen, 4, "a")
        later(alive, DEAD)
        alive.balance("a")
        entry = frozen.commit(hold, usd(cost), ["a"])
        assert (entry.late, entry.amounts) == (True, usd(added))
        assert frozen.commit(hold, usd(cost), ["a"]) == entry
        with pytest.raises(HoldConflict):
            frozen.commit(hold, usd(cost + 1), ["a"])
        assert money(alive, "a") == [(spent, 0)]
        assert alive.verify() == []

    def test_a_release_after_that_gives_nothing_back(self, store):
        frozen, alive = store(), store()
        frozen.open(account("a", 10))
        hold = held(frozen, 4, "a")
        later(alive, DEAD)
        alive.balance("a")
        assert frozen.release(hold).kind == "expire"
        assert money(alive, "a") == [(4, 0)]

    def test_a_last_call_that_expires_lets_another_be_made(self, store):
        dead, alive = store(on_expiry="release"), store()
        dead.open(account("root", 10))
        dead.open(account("a", 8, "root", reserve=usd(3)))
        alive.open(account("a", 8, "root", reserve=usd(3)))
        held(dead, 4, "a", final="a")
        later(alive, DEAD)
        assert money(alive, "a", "root") == [(0, 0), (0, 3)]
        held(alive, 8, "a", final="a")

    def test_what_a_dead_process_had_set_aside_comes_back(self, store):
        dead, alive = store(), store()
        dead.open(account("root", 20, lasts="standing"))
        dead.open(account("a", 5, "root", reserve=usd(2)))
        dead.open(account("b", 5, "root", allocated=True))
        dead.open(account("c", 5, "root", reserve=usd(1), lasts="run"))
        assert money(alive, "root") == [(0, 8)]
        later(alive, DEAD)
        assert money(alive, "root") == [(0, 0)]
        assert alive.open(account("a", 5, "root", reserve=usd(2))).kept_back == usd(2)
        assert alive.open(account("b", 5, "root", allocated=True)).state == "open"
        assert money(alive, "root") == [(0, 7)]
        held(dead, 1, "c")  # it was only frozen
        assert alive.verify() == []

    def test_accounts_that_only_a_dead_process_could_name_are_dropped_a_day_later(self, store):
        dead, alive = store(on_expiry="release"), store()
        dead.open(account("run", 5, lasts="run"))
        hold = held(dead, 1, "run")
        later(alive, DEAD)
        assert len(alive.accounts()) == 1
        assert dead.commit(hold, usd(1), ["run"]).late
        for _ in range(2):  # dead for good, and for a day
            later(alive, 86_500)
            assert alive.verify() == []
        assert alive.accounts() == []

    def test_the_heartbeat_keeps_holds_alive_by_itself(self, store):
        slow, alive = store(ttl=0.6), store()
        slow.open(account("a", 10))
        hold = held(slow, 4, "a")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert money(alive, "a") == [(0, 4)]
            time.sleep(0.05)
        assert not slow.commit(hold, usd(1), ["a"]).late


class TestHeartbeat:
    class Ledger:
        def __init__(self, beat, ttl):
            self.beat, self.ttl = beat, ttl

    def test_one_that_hangs_keeps_no_other_from_being_told(self):
        told, hanging, go_on = threading.Semaphore(0), threading.Event(), threading.Event()

        def hang():
            hanging.set()
            go_on.wait(60)

        ledgers = [self.Ledger(hang, 0.03), self.Ledger(told.release, 0.03)]
        keep_alive(ledgers[0])
        assert hanging.wait(10)
        keep_alive(ledgers[1])
        assert all(told.acquire(timeout=10) for _ in range(3))
        go_on.set()

    def test_it_ends_with_its_ledger(self):
        before = set(threading.enumerate())
        ledger = self.Ledger(None, 900)
        keep_alive(ledger)
        (thread,) = set(threading.enumerate()) - before
        del ledger
        thread.join(10)
        assert not thread.is_alive()


class TestSessions:
    def test_who_closes_closes_for_no_namesake(self, backend):
        budget = AgentBudget("$1", ledger=backend())
        sessions = [budget.session("a") for _ in range(3)]
        sessions[0].close()
        sessions[0].close()
        sessions[1].track(cost=0.1)
        sessions[1].close()
        assert sessions[2].balance().state == "open"
        sessions[2].close()
        assert sessions[0].balance().state == "closed"

    def test_a_namesake_that_was_dropped_keeps_nothing_open(self, backend):
        budget = AgentBudget("$1", ledger=backend())
        budget.session("a")
        gc.collect()
        with budget.session("a") as session:
            pass
        assert session.balance().state == "closed"

    def test_a_name_goes_on_in_another_process(self, store):
        with AgentBudget("$1", ledger=store()).session("thread-42") as session:
            session.track(cost=0.3)
        with AgentBudget("$1", ledger=store()).session("thread-42") as session:
            assert (session.spent, session.remaining) == (0.3, 0.7)
            assert session.balance().state == "open"

    def test_a_threshold_that_was_told_is_not_told_again(self, store):
        told = []
        for cost in (0.5, 0.1, 0.35):
            budget = AgentBudget("$1", ledger=store(), on_warning=told.append)
            with budget.session("thread-42") as session:
                session.track(cost=cost)
        assert [warning["threshold"] for warning in told] == [30, 80, 95]

    def test_a_top_up_by_another_process_is_seen(self, store):
        budget = AgentBudget("$1", ledger=store())
        session, other = budget.session("a"), AgentBudget("$1", ledger=store()).session("a")
        other.top_up("$2")
        assert (session.remaining, session.limit) == (3.0, 3.0)

    def test_a_shared_account_pays_for_sessions_of_all_processes(self, store):
        declare("team:growth", "$1", ledger=store())
        first = AgentBudget("$0.80", ledger=store(), parent="team:growth").session()
        second = AgentBudget("$0.80", ledger=store(), parent="team:growth").session("b")
        first.track(cost=0.7)
        assert second.would_exceed(0.4)
        assert not second.would_exceed(0.3)
        assert store().balance("team:growth").spent == usd(700_000_000, tool_calls=1)

    def test_a_shared_account_must_be_declared(self, store):
        with pytest.raises(InvalidBudget, match=r"budget account set team:growth"):
            AgentBudget("$1", ledger=store(), parent="team:growth").session()
        with pytest.raises(InvalidBudget, match="'nobody'"):
            declare("a", "$1", ledger=store(), parent="nobody")

    def test_declaring_where_nobody_else_looks_is_refused(self, monkeypatch):
        monkeypatch.delenv("BUDGET_LEDGER", raising=False)
        for ledger in (None, "memory://"):
            with pytest.raises(InvalidBudget, match="which only this call has"):
                declare("team", "$5", ledger=ledger)

    def test_sessions_that_have_ended_take_no_memory(self, store):
        ledger = resilient(store())
        for number in range(5):
            with AgentBudget("$1", ledger=ledger).session(f"thread-{number}"):
                pass
        assert (ledger._balances, ledger._accounts) == ({}, {})

    def test_declaring_again_changes_nothing_unless_it_is_an_update(self, store):
        declare("team", "$1", ledger=store())
        declare("team", "$1", ledger=store())
        with pytest.raises(AccountConflict):
            declare("team", "$2", ledger=store())
        assert declare("team", "$2", ledger=store(), update=True).remaining() == 2 * 10**9
        with pytest.raises(AccountConflict):
            AgentBudget("$1", ledger=store()).session("team")
        AgentBudget("$1", ledger=store(), update=True).session("team")

    def test_agents_of_two_sessions_may_have_one_name(self, store):
        for thread in ("t1", "t2", "t1"):
            with AgentBudget("$1", ledger=store()).session(thread) as session:
                child = session.child_session("$0.5", name="researcher")
                child.track(cost=0.1)
        assert (session.spent, child.spent) == (0.2, 0.2)
        assert {balance.account for balance in store().accounts()} == {
            "t1", "t1/researcher", "t2", "t2/researcher"
        }  # fmt: skip

    def test_a_child_of_a_session_without_a_name_has_none_either(self, store):
        ledger = store()
        session = AgentBudget("$1", ledger=ledger).session()
        session.child_session("$0.5", name="researcher").track(cost=0.1)
        assert {ledger.describe(b.account).lasts for b in ledger.accounts()} == {"run"}

    @pytest.mark.parametrize("name", [None, ""])
    def test_a_session_without_a_name_leaves_nothing(self, store, name):
        ledger = store()
        AgentBudget("$1", ledger=ledger).session(name).track(cost=0.1)
        assert ledger.accounts() == []
        assert ZERO not in [entry.amounts for entry in ledger.entries()]
