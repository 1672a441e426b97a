import subprocess
import sys

import pytest

from budget_core import hooks
from budget_core.errors import InvalidBudget
from budget_core.ledger import Account, Hold, MemoryLedger, ledger_from, new_id
from budget_core.limits import Amounts, Limits


def ten(name="a", parent=None, **options):
    return Account(name, parent, Limits.of(10), **options)


def cost(nanos):
    return Amounts(usd=nanos)


def test_windows_are_refused_clearly():
    with pytest.raises(InvalidBudget, match=r"\$5.00/day, 100 LLM calls/hour"):
        MemoryLedger().open(Account("a", None, Limits.of("$5/day", "100 calls/hour")))


class TestKeepingEntries:
    def test_only_the_last_ones_are_kept_and_still_everything_adds_up(self):
        ledger = MemoryLedger(keep_entries=3)
        ledger.open(ten())
        ledger.open(ten("b", "a"))
        for n in range(10):
            hold = ledger.reserve(new_id(), ["b"], cost(n))
            ledger.commit(hold.id, cost(n), ["b"])
        assert [entry.amounts.usd for entry in ledger.entries()] == [7, 8, 9]
        assert ledger.balance("a").spent == cost(45)
        assert ledger.verify() == []

    def test_a_spend_beyond_its_hold_is_remembered_when_it_is_folded(self):
        ledger = MemoryLedger(keep_entries=1)
        ledger.open(Account("a", None, Limits.of("0.000000010")))
        ledger.reserve(new_id(), ["a"], cost(10))
        ledger.charge(new_id(), ["a"], cost(5))
        ledger.charge(new_id(), ["a"], cost(0))
        assert ledger.verify() == []

    def test_a_forgotten_account_is_folded_away(self):
        ledger = MemoryLedger(keep_entries=1)
        ledger.open(ten())
        ledger.open(ten("b", "a"))
        for _ in range(3):
            ledger.charge(new_id(), ["b"], cost(1))
        ledger.forget("b")
        ledger.charge(new_id(), ["a"], cost(1))
        ledger.charge(new_id(), ["a"], cost(1))
        assert ledger.balance("a").spent == cost(5)
        assert ledger.verify() == []

    def test_a_late_commit_and_its_release_are_folded_one_by_one(self):
        ledger = MemoryLedger(keep_entries=2)
        ledger.open(ten())
        hold = ledger.reserve(new_id(), ["a"], cost(1))
        ledger.release(hold.id)
        late = ledger.commit(hold.id, cost(1), ["a"])
        ledger.charge(new_id(), ["a"], cost(1))
        assert ledger.commit(hold.id, cost(1), ["a"]) == late
        assert ledger.balance("a").spent == cost(2)


class TestVerify:
    @pytest.fixture
    def ledger(self):
        ledger = MemoryLedger()
        ledger.open(ten())
        ledger.reserve(new_id(), ["a"], cost(3))
        assert ledger.verify() == []
        return ledger

    def test_finds_a_spend_that_no_entry_tells_of(self, ledger):
        ledger._nodes["a"].spent = cost(1)
        assert "spent" in ledger.verify()[0]

    def test_finds_a_hold_that_leaked(self, ledger):
        ledger._live.clear()
        assert "reserved" in ledger.verify()[0]

    def test_finds_a_broken_limit(self, ledger):
        ledger._nodes["a"].caps = ((0, 2),)
        assert "exceed" in ledger.verify()[0]


class TestFinalizers:
    """What runs in the middle of an operation, in its thread: a garbage collector's finalizers."""

    class Meddler(str):
        """A name that meddles when the ledger looks it up, deep inside an operation."""

        __slots__ = ("meddle",)

        def __hash__(self):
            meddle, self.meddle = getattr(self, "meddle", None), None
            if meddle:
                meddle()
            return str.__hash__(self)

    @pytest.fixture
    def ledger(self):
        ledger = MemoryLedger()
        ledger.open(ten())
        ledger.open(ten("b", "a", allocated=True, reserve=cost(4)))
        return ledger

    def meddled(self, ledger, meddle):
        name = self.Meddler("a")
        name.meddle = meddle
        return ledger.charge(new_id(), [name], cost(1))

    def test_a_commit_is_answered_at_once_and_done_next(self, ledger):
        hold = ledger.reserve(new_id(), ["b"], cost(3))
        answers = []
        self.meddled(ledger, lambda: answers.append(ledger.commit(hold.id, cost(2), ["b"])))
        assert (answers[0].held, answers[0].amounts) == (cost(3), cost(2))
        assert answers[0].path == ("b", "a")
        assert ledger.balance("b").spent == cost(2)
        assert ledger.balance("a").spent == cost(3)
        assert ledger.verify() == []

    def test_a_commit_of_an_unknown_hold_is_not_lost(self, ledger):
        self.meddled(ledger, lambda: ledger.commit(new_id(), cost(2), ["b"]))
        assert ledger.balance("a").spent == cost(3)

    def test_a_charge_is_not_lost(self, ledger):
        self.meddled(ledger, lambda: ledger.charge(new_id(), ["b"], cost(2)))
        assert list(ledger.entries())[-1].amounts == cost(2)
        assert ledger.balance("a").spent == cost(3)

    def test_a_release_frees_its_hold(self, ledger):
        hold = ledger.reserve(new_id(), ["b"], cost(3))
        answers = []

        def release():
            answers.append(ledger.release(hold.id))
            answers.append(ledger.release("nobody"))

        self.meddled(ledger, release)
        assert (answers[0].kind, answers[1]) == ("release", None)
        assert ledger.balance("b").reserved == cost(0)

    def test_an_account_may_be_closed_kept_back_for_and_asked(self, ledger):
        seen = []

        def meddle():
            seen.append(ledger.balance("b").spent)
            seen.append(ledger.headroom(["a"]).usd)
            ledger.keep_back("b", cost(2))
            ledger.forget("b")
            ledger.close("a", "cancelled")

        self.meddled(ledger, meddle)
        assert seen == [cost(0), 0]
        assert ledger.balance("a").state == "cancelled"
        assert ledger.balance("a").reserved == cost(0)

    def test_what_cannot_be_done_is_logged_and_stops_nobody(self, ledger, caplog):
        self.meddled(ledger, lambda: ledger.close("nobody"))
        assert isinstance(ledger.reserve(new_id(), ["b"], cost(0)), Hold)
        assert "finalizer" in caplog.text


class TestLedgerFrom:
    def test_none_and_memory_are_fresh_ones(self):
        first, second = ledger_from(None), ledger_from("memory://")
        assert isinstance(first, MemoryLedger)
        assert first is not second

    def test_a_ledger_is_itself(self):
        ledger = MemoryLedger()
        assert ledger_from(ledger) is ledger

    def test_a_scheme_that_nobody_knows_is_refused(self):
        with pytest.raises(InvalidBudget, match="nosuch://there"):
            ledger_from("nosuch://there")

    def test_a_plugin_may_know_it(self):
        ledger = MemoryLedger()

        class Plugin:
            @hooks.hookimpl
            def budget_ledger(self, request):
                return ledger if request.url == "mine://" else None

        plugin = Plugin()
        hooks.register(plugin)
        try:
            assert ledger_from("mine://") is ledger
            with pytest.raises(InvalidBudget):
                ledger_from("other://")
        finally:
            hooks.unregister(plugin)


def test_a_forked_process_makes_ids_of_its_own():
    script = """
import os
from budget_core.ledger import new_id
new_id()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, new_id().encode())
    os._exit(0)
os.wait()
print(os.read(read, 99).decode() != new_id())
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "True"
