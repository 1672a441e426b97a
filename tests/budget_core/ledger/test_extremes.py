"""Amounts and names that no honest user has: nobody else is harmed by them."""

import pytest

from budget_core import AgentBudget
from budget_core.errors import InvalidBudget
from budget_core.ledger import Account, Hold, new_id
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

HALF = "\ud83d"


def usd(amount):
    return Amounts(usd=amount)


class TestAmounts:
    @pytest.mark.parametrize(("times", "amount"), [(1_100, 9 * 10**15), (2, 2**63), (3, 10**20)])
    def test_sums_beyond_64_bits_are_exact_and_stop_nobody(self, ledger, times, amount):
        """1,100 events of $9,000,000 made a file useless for all accounts, for ever."""
        for name in ("rich", "other"):
            ledger.open(Account(name, None, Limits()))
        for _ in range(times):
            ledger.charge(new_id(), ["rich"], usd(amount))
        hold = ledger.reserve(new_id(), ["rich"], usd(amount))
        assert isinstance(hold, Hold)
        ledger.open(Account("third", None, Limits()))  # all is written
        if hasattr(ledger, "close_connection"):
            ledger.close_connection()
        assert ledger.balance("rich").spent.usd == times * amount
        assert ledger.balance("rich").reserved.usd == amount
        assert ledger.commit(hold.id, usd(amount + 1), ["rich"]).amounts.usd == amount + 1
        assert ledger.commit(hold.id, usd(amount + 1), ["rich"]).amounts.usd == amount + 1
        assert ledger.charge(new_id(), ["other"], usd(1)).after == (usd(1),)
        assert ledger.verify() == []

    def test_another_process_reads_them(self, store):
        here, there = store(), store()
        here.open(Account("rich", None, Limits()))
        for _ in range(2):
            here.charge(new_id(), ["rich"], usd(2**63))
            there.charge(new_id(), ["rich"], usd(2**63))
        assert here.balance("rich").spent.usd == there.balance("rich").spent.usd == 2**65
        assert there.verify() == []


class TestNames:
    @pytest.mark.parametrize("name", [HALF, "a" + HALF, "x" * 513, "é" * 257, "x" * 2**20])
    def test_are_refused_at_the_door(self, ledger, name):
        with pytest.raises(InvalidBudget):
            ledger.open(Account(name))
        with pytest.raises(InvalidBudget):
            AgentBudget("$1", ledger=ledger).session(name)

    def test_are_as_long_as_512_bytes_below_their_parents(self, ledger):
        ledger.open(Account("é" * 256))
        below = f"{'é' * 256}/{'x' * 512}"
        ledger.open(Account(below, "é" * 256))
        ledger.charge(new_id(), [below], usd(1))
        assert ledger.balance("é" * 256).spent.usd == 1
        with pytest.raises(InvalidBudget):
            Account(f"{below}y", "é" * 256)
