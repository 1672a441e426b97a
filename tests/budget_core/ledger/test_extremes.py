"""Amounts and names that no honest user has: nobody else is harmed by them."""

import pytest

from budget_core import AgentBudget, LedgerUnavailable
from budget_core.errors import InvalidBudget
from budget_core.ledger import Account, Hold, new_id
from budget_core.ledger.contract import OperationFailed
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.resilient import ledger as module
from budget_core.ledger.resilient.ledger import resilient
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

    def test_that_nobody_can_have_are_not_found(self, ledger):
        for ask in (
            ledger.balance,
            ledger.describe,
            lambda name: ledger.reserve(new_id(), [name], usd(1)),
            lambda name: ledger.charge(new_id(), [name], usd(1)),
            lambda name: ledger.headroom([name]),
            ledger.close,
        ):
            with pytest.raises(KeyError):
                ask(HALF)
        ledger.open(Account("a"))
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(1)), Hold)


def test_an_error_that_the_server_answers_closes_the_door_on_nobody_else(redis_server, monkeypatch):
    monkeypatch.setattr(module, "RETRY", 60)
    inner = RedisLedger(redis_server.url, namespace=new_id())
    ledger = resilient(inner)
    ledger.open(Account("a"))
    client, key = inner._functions.client, f"{{{inner._namespace}}}:accounts"
    ledger.open(Account("damaged"))
    client.hset(key, "damaged", b"?")
    with pytest.raises(OperationFailed):
        ledger.balance("damaged")
    assert ledger.charge(new_id(), ["damaged"], usd(1)).amounts == usd(1)  # it is owed
    for _ in range(3):
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(1)), Hold)
    assert ledger.owed == 1
    assert issubclass(OperationFailed, LedgerUnavailable)
    client.hset(key, "damaged", client.hget(key, "a"))
    inner.close_connection()
    ledger._journal.paid(next(iter(ledger._journal)))
