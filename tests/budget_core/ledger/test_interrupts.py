"""Ctrl-C, an alarm, whatever is raised between any two instructions: no answer is a wrong one."""

import gc
import os
import random
import signal
import sys
import threading

import pytest
import redis
from tests.budget_core.ledger.conftest import STORES

from budget_core.ledger import Account, Denial, Hold, MemoryLedger, new_id
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.reservation import Group, Reservation
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

ALARMS = 1_000 if os.environ.get("LEDGERS") == "full" else 150


class Interrupt(BaseException):
    pass


def usd(amount):
    return Amounts(usd=amount)


@pytest.fixture
def alarm():
    """What raises an Interrupt in this thread, some microseconds later."""

    def ring(_, frame):
        while frame is not None:
            if "coverage" in frame.f_code.co_filename:  # it would keep a lock of its own for ever
                signal.setitimer(signal.ITIMER_REAL, 0.000_1)
                return
            frame = frame.f_back
        raise Interrupt

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Calls:
    """What one process does, and what it must have come to."""

    def __init__(self, ledger):
        self.ledger, self.spent, self.live = ledger, {}, {}

    def once(self, chance):
        ledger, key, cost = self.ledger, new_id(), chance.randrange(1, 90)
        what = chance.choice(("charge", "commit", "release", "refused", "balance", "close"))
        if what == "charge":
            self.spent[key] = cost
            assert ledger.charge(key, ["a"], usd(cost)).id == key
        elif what == "refused":
            answer = ledger.reserve(key, ["poor"], usd(cost + 1_000))
            assert isinstance(answer, Denial), answer
        elif what == "balance":
            assert ledger.balance("a").account == "a"
        elif what == "close":
            ledger.close_connection()
        else:
            self.live[key] = cost
            assert ledger.reserve(key, ["a"], usd(100)) == Hold(key, ("a",), usd(100))
            if what == "commit":
                self.spent[key] = cost
                del self.live[key]
                assert ledger.commit(key, usd(cost), ["a"]).id == key
            else:
                assert ledger.release(key).id == key
                del self.live[key]

    def settle(self):
        """Say again what an interrupt may have cut off: every operation counts once."""
        entries = {entry.id: entry for entry in self.ledger.entries("a")}
        for key, cost in self.spent.items():
            known = entries.get(key)
            if known is None or known.kind == "release":
                self.ledger.commit(key, usd(cost), ["a"])
            else:
                assert known.amounts == usd(cost)
        for key in self.live:
            self.ledger.release(key)
        for hold in self.ledger.holds():
            assert hold.hold.id in self.spent
        return sum(self.spent.values())


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", sorted(STORES))
def test_acceptance_alarms_at_random_points(kind, alarm, monkeypatch):
    # sockets are dropped, and alarms are raised in finalizers, too
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    store = STORES[kind]()
    ledger, other, chance = store(), store(), random.Random(17)
    ledger.open(Account("a", None, Limits.of("$1000")))
    ledger.open(Account("poor", None, Limits()))
    ledger.open(Account("poor", None, Limits.of("$0.000001")), update=True)
    calls, interrupted = Calls(ledger), 0
    while interrupted < ALARMS:
        try:
            try:
                alarm(chance.uniform(0.000_005, 0.002))
                for _ in range(100):  # one that is raised in a finalizer is lost
                    calls.once(chance)
            finally:
                alarm(0)
        except Interrupt:
            interrupted += 1
            if interrupted % 10 == 0:  # nobody else is kept waiting, in this process or another
                answers = []
                thread = threading.Thread(target=lambda: answers.append(ledger.balance("a")))  # noqa: B023
                thread.start()
                thread.join(30)
                assert answers
                other.charge(new_id(), ["poor"], usd(0))
    total = calls.settle()
    assert ledger.verify() == other.verify() == []
    assert ledger.balance("a").spent.usd == other.balance("a").spent.usd == total
    assert ledger.balance("a").reserved.usd == 0
    ledger.close_connection()
    other.close_connection()
    gc.collect()


class TestRedisConnections:
    def test_an_answer_that_was_not_read_is_nobody_elses(self, redis_server, monkeypatch):
        """It was that of the question before: a hold of $10,000 in an account of $1,000."""
        ledger = RedisLedger(redis_server.url, namespace=new_id())
        ledger.open(Account("a", None, Limits.of("$1000")))
        read = redis.connection.Connection.read_response

        def interrupted(self, *args, **kwargs):
            monkeypatch.setattr(redis.connection.Connection, "read_response", read)
            raise Interrupt

        monkeypatch.setattr(redis.connection.Connection, "read_response", interrupted)
        with pytest.raises(Interrupt):
            ledger.reserve(new_id(), ["a"], usd(10))
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(10**13)), Denial)
        ledger.close_connection()

    def test_a_connection_is_made_whole_or_not_at_all(self, redis_server, monkeypatch):
        """A handshake that was cut off left it on database 0."""
        ledger = RedisLedger(redis_server.url.replace("/0", "/3"), namespace=new_id())
        ledger.open(Account("a", None, Limits.of("$1000")))
        ledger.charge(new_id(), ["a"], usd(900))
        ledger.close_connection()
        shake = redis.connection.Connection.on_connect_check_health

        def interrupted(self, *args, **kwargs):
            monkeypatch.setattr(redis.connection.Connection, "on_connect_check_health", shake)
            raise Interrupt

        monkeypatch.setattr(redis.connection.Connection, "on_connect_check_health", interrupted)
        with pytest.raises(Interrupt):
            ledger.balance("a")
        assert ledger.balance("a").spent.usd == 900
        ledger.close_connection()


class Interrupting(MemoryLedger):
    def reserve(self, *args, **options):
        super().reserve(*args, **options)
        raise Interrupt


def test_a_hold_whose_answer_was_interrupted_is_given_back():
    ledgers = [MemoryLedger(), Interrupting()]
    for ledger in ledgers:
        ledger.open(Account("a", None, Limits.of("$1000")))
    with pytest.raises(Interrupt):
        Reservation([Group(ledger, ("a",)) for ledger in ledgers]).reserve(usd(5))
    assert [ledger.holds() for ledger in ledgers] == [[], []]


def test_an_operation_that_could_not_end_is_given_up_by_the_next(tmp_path):
    """An interrupt as the last step begins: Python enters no function whose end it could see."""
    from budget_core.ledger.sqlite import SqliteLedger

    ledger, other = SqliteLedger(tmp_path / "a.db"), SqliteLedger(tmp_path / "a.db", timeout=1)
    ledger.open(Account("a", None, Limits.of("$1000")))
    leave = ledger._for_appending._leave

    def interrupted(*_):
        ledger._for_appending._leave = leave
        raise Interrupt

    ledger._for_appending._leave = interrupted
    with pytest.raises(Interrupt):
        ledger.charge("one", ["a"], usd(900))
    thread = threading.Thread(target=ledger.charge, args=("two", ["a"], usd(5)))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert other.balance("a").spent.usd == ledger.balance("a").spent.usd == 5
    assert ledger.verify() == other.verify() == []
    ledger.close_connection()
    other.close_connection()
