"""One hold in two ledgers: in both or in none."""

import pytest

from budget_core.errors import LedgerUnavailable
from budget_core.ledger import Account, MemoryLedger, new_id
from budget_core.ledger.reservation import Group, Reservation
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits


class Flaky(MemoryLedger):
    """A ledger whose connection is cut for the operations named in `down`."""

    def __init__(self):
        super().__init__()
        self.down = set()

    def reserve(self, *args, **options):
        self._answer("reserve")
        return super().reserve(*args, **options)

    def extend(self, *args):
        self._answer("extend")
        return super().extend(*args)

    def commit(self, *args):
        self._answer("commit")
        return super().commit(*args)

    def release(self, *args):
        self._answer("release")
        return super().release(*args)

    def charge(self, *args, **options):
        self._answer("charge")
        return super().charge(*args, **options)

    def _answer(self, operation):
        if operation in self.down:
            raise LedgerUnavailable("connection refused")


def made(limit, *names):
    ledger = Flaky()
    for name in names:
        ledger.open(Account(name, None, Limits((Limit("usd", limit),)), Amounts(usd=1)))
    return ledger


@pytest.fixture
def here():
    return made(11, "a", "b")


@pytest.fixture
def there():
    return made(6, "x", "y")


@pytest.fixture
def both(here, there):
    return Reservation([Group(here, ("a",)), Group(there, ("x",))])


def usd(amount):
    return Amounts(usd=amount)


def money(ledger, name):
    balance = ledger.balance(name)
    return balance.spent.usd, balance.reserved.usd


def test_is_held_in_both(both, here, there):
    assert both.reserve(usd(5)) is None
    assert money(here, "a") == money(there, "x") == (0, 5)


@pytest.mark.parametrize("order", [1, -1])
def test_a_refusal_by_one_leaves_nothing_in_the_other(here, there, order):
    groups = [Group(here, ("a",)), Group(there, ("x",))][::order]
    reservation = Reservation(groups)
    refusal = reservation.reserve(usd(6))
    assert (refusal.ledger, refusal.denial.account) == (there, "x")
    assert money(here, "a") == money(there, "x") == (0, 0)
    assert reservation.reserve(usd(5)) is None


def test_a_ledger_that_fails_leaves_nothing_in_the_other(both, here, there):
    there.down = {"reserve"}
    with pytest.raises(LedgerUnavailable):
        both.reserve(usd(1))
    assert money(here, "a") == (0, 0)
    there.down = set()
    assert both.reserve(usd(1)) is None


def test_commit_spends_in_both(both, here, there):
    both.reserve(usd(5))
    entries = both.commit(usd(3))
    assert [entry.amounts for entry in entries] == [usd(3)] * 2
    assert money(here, "a") == money(there, "x") == (3, 0)


@pytest.mark.parametrize("down", ["here", "there"])
def test_commit_reaches_the_others_when_one_fails(both, here, there, down):
    both.reserve(usd(5))
    {"here": here, "there": there}[down].down = {"commit"}
    with pytest.raises(LedgerUnavailable):
        both.commit(usd(3))
    assert sorted([money(here, "a"), money(there, "x")]) == [(0, 5), (3, 0)]


def test_release_reaches_the_others_when_one_fails(both, here, there):
    both.reserve(usd(5))
    here.down = {"release"}
    with pytest.raises(LedgerUnavailable):
        both.release()
    assert money(there, "x") == (0, 0)


def test_charge_reaches_the_others_when_one_fails(both, here, there):
    here.down = {"charge"}
    with pytest.raises(LedgerUnavailable):
        both.charge(usd(9))
    assert money(there, "x") == (9, 0)


def test_extend_grows_in_both_or_in_none(both, here, there):
    both.reserve(usd(2))
    assert both.extend(usd(5)) is None
    refusal = both.extend(usd(6))
    assert refusal.denial.account == "x"
    assert both.amounts == usd(5)
    assert money(here, "a") == money(there, "x") == (0, 5)


def test_extend_that_fails_in_one_is_undone_in_the_other(both, here, there):
    both.reserve(usd(2))
    there.down = {"extend"}
    with pytest.raises(LedgerUnavailable):
        both.extend(usd(5))
    assert both.amounts == usd(2)
    assert money(here, "a") == money(there, "x") == (0, 2)


def test_another_ledger_may_join(here, there):
    reservation = Reservation([Group(here, ("a",))])
    reservation.reserve(usd(2))
    assert reservation.extend(usd(4), [Group(there, ("x",)), Group(here, ("b",))]) is None
    assert money(here, "a") == money(here, "b") == money(there, "x") == (0, 4)
    reservation.commit(usd(3))
    assert money(here, "a") == money(here, "b") == money(there, "x") == (3, 0)


def test_a_joining_ledger_that_refuses_leaves_the_hold_as_it_was(here, there):
    reservation = Reservation([Group(here, ("a",))])
    reservation.reserve(usd(2))
    there.charge(new_id(), ["x"], usd(4))
    refusal = reservation.extend(usd(3), [Group(there, ("x",)), Group(here, ("b",))])
    assert refusal.ledger is there
    reservation.commit(usd(2))
    assert money(here, "a") == (2, 0)
    assert money(here, "b") == (0, 0)
    assert money(there, "x") == (4, 0)


def test_a_joining_ledger_gives_back_when_a_known_one_refuses(here, there):
    reservation = Reservation([Group(here, ("a",))])
    reservation.reserve(usd(2))
    here.charge(new_id(), ["b"], usd(10))
    refusal = reservation.extend(usd(1), [Group(there, ("x",)), Group(here, ("b",))])
    assert refusal.denial.account == "b"
    assert money(there, "x") == (0, 0)
    assert money(here, "a") == (0, 2)


def test_headroom_is_the_least_of_both(both, here, there):
    assert both.headroom().usd == 5
    here.charge(new_id(), ["a"], usd(8))
    assert both.headroom() == (2, None, None, None)


def test_the_last_call_is_the_last_in_one_ledger_only(here, there):
    reservation = Reservation([Group(here, ("a",)), Group(there, ("x",))], (there, "x"))
    assert reservation.headroom().usd == 6
    assert reservation.reserve(usd(6)) is None
    reservation.commit(usd(6))
    assert here.balance("a").state == "open"
    assert there.balance("x").state == "finalized"
