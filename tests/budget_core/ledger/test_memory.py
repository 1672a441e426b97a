import pytest

from budget_core.ledger import Account, MemoryLedger, new_id
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits


def ten(name="a", parent=None, **options):
    return Account(name, parent, Limits.of(10), **options)


def cost(nanos):
    return Amounts(usd=nanos)


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

    def test_one_that_only_reads_is_answered(self, ledger):
        seen = []
        self.meddled(ledger, lambda: seen.append(ledger.balance("b").spent))
        assert seen == [cost(0)]

    def test_an_account_that_is_forgotten_goes_with_the_next_operation(self, ledger):
        self.meddled(ledger, lambda: ledger.forget("b"))
        assert ledger.balance("a").reserved == cost(0)
        assert ledger.verify() == []
