"""Looking at a ledger, however much is in it: in pages, and without keeping others waiting."""

import tracemalloc

import pytest
import redis
from tests.budget_core.ledger.clocks import ShiftedClock

from budget_core.ledger import Account, Entry, Hold, MemoryLedger, new_id
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.redis.pages import PAGE, RECORDS
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

TEN = Limits.of("$10")
A_NANO = Amounts(1, 0, 1, 0)


def charge(ledger, account, times=1):
    for _ in range(times):
        ledger.charge(new_id(), (account,), A_NANO)


class TestTheLastRecords:
    @pytest.fixture
    def busy(self, ledger):
        for name in ("a", 'a"b', "b", "ä\\"):
            ledger.open(Account(name, None, TEN))
        ledger.open(Account("below", "a"))
        charge(ledger, "b", 3)
        charge(ledger, "below", 5)
        charge(ledger, 'a"b', 2)
        charge(ledger, "ä\\")
        charge(ledger, "b", 4)
        return ledger

    @pytest.mark.parametrize("account", [None, "a", "below", 'a"b', "b", "ä\\", "nobody"])
    @pytest.mark.parametrize("many", [1, 3, 100])
    def test_are_those_of_all_records(self, busy, account, many):
        found = list(busy.entries(account))
        assert busy.last_entries(many, account) == found[-many:]

    def test_are_found_in_the_table_and_in_the_log_of_a_file(self, tmp_path):
        ledger = SqliteLedger(tmp_path / "a.db")
        ledger.open(Account("a", None, TEN))
        charge(ledger, "a", 1_500)
        found = list(ledger.entries())
        assert len(found) == 1_500
        assert ledger.last_entries(1_200) == found[-1_200:]
        ledger.close_connection()


def test_a_file_of_the_first_version_is_brought_up(tmp_path, monkeypatch):
    monkeypatch.setattr("budget_core.ledger.sqlite.database.VERSION", 1)
    old = SqliteLedger(tmp_path / "a.db")
    old.open(Account("a", None, TEN))
    charge(old, "a", 2)
    old.close_connection()
    monkeypatch.undo()
    ledger = SqliteLedger(tmp_path / "a.db")
    plan = ledger.database.connection().execute(
        "EXPLAIN QUERY PLAN SELECT * FROM entry ORDER BY number DESC"
    )
    assert "entry_number" in str(plan.fetchall())
    assert len(ledger.last_entries(5)) == 2
    ledger.close_connection()


def test_a_replay_tells_how_far_it_is(ledger):
    ledger.open(Account("a", None, TEN))
    charge(ledger, "a", 7)
    told = []
    assert ledger.verify(lambda done, many: told.append((done, many))) == []
    assert told == [(0, 7), (7, 7)]


def test_a_replay_of_a_file_keeps_no_records_in_memory(tmp_path):
    ledger = SqliteLedger(tmp_path / "a.db")
    ledger.open(Account("a", None, TEN))
    charge(ledger, "a", 4_000)
    ledger.verify()
    tracemalloc.start()
    ledger.verify()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000 * 100
    ledger.close_connection()


class TestOnAServer:
    @pytest.fixture
    def ledger(self, redis_server):
        ledger = RedisLedger(redis_server.url, namespace=f"look{new_id()}", ttl=3600)
        yield ledger
        ledger.close_connection()

    @pytest.fixture
    def commands(self, redis_server):
        """Return how often commands were run by what is done, by their names."""
        client = redis.Redis(port=redis_server.port)

        def counted(action):
            client.config_resetstat()
            action()
            stats = client.info("commandstats")
            return lambda name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]

        yield counted
        client.close()

    def test_one_account_is_looked_up_alone(self, ledger, commands):
        for n in range(50):
            ledger.open(Account(f"{n}", None, TEN))
        ran = commands(lambda: ledger.describe("7"))
        assert ran("hget") <= 4
        assert ran("hscan") == ran("hkeys") == ran("hgetall") == 0
        with pytest.raises(KeyError):
            ledger.describe("nobody")

    def test_accounts_and_holds_are_told_in_pages(self, ledger, commands):
        ledger.open(Account("root", None, TEN))
        for n in range(12 * PAGE):
            ledger.open(Account(f"{n}", "root"))
            ledger.reserve(f"hold {n}", (f"{n}",), A_NANO)
        found = []
        ran = commands(lambda: found.extend(ledger.accounts()))
        assert sorted({each.account for each in found}) == [each.account for each in found]
        assert len(found) == 12 * PAGE + 1
        assert ran("hscan") >= 4
        ran = commands(lambda: found.append(len(ledger.holds())))
        assert found[-1] == 12 * PAGE
        assert ran("hscan") >= 4
        assert ledger.verify() == []

    def test_the_last_records_are_read_from_the_end(self, ledger, commands):
        ledger.open(Account("a", None, TEN))
        charge(ledger, "a", 3 * RECORDS)
        ran = commands(lambda: ledger.last_entries(20))
        assert ran("lrange") <= 2
        ran = commands(ledger.verify)
        assert ran("lrange") in {3, 4}

    def test_what_others_spend_meanwhile_is_no_fault(self, ledger, monkeypatch):
        ledger.open(Account("root", None, TEN))
        for n in range(3 * PAGE):
            ledger.open(Account(f"{n}", "root"))
        page = ledger._page

        def busy(*asked):
            answer = page(*asked)
            charge(ledger, "7", 2)
            return answer

        monkeypatch.setattr(ledger, "_page", busy)
        assert ledger.verify() == []
        assert ledger._faults(None) == []

    def test_what_others_hold_meanwhile_is_looked_at_again(self, ledger, monkeypatch):
        ledger.open(Account("root", None, TEN))
        page, meanwhile = ledger._page, iter(range(1_000))

        def busy(*asked):
            answer = page(*asked)
            ledger.reserve(f"{next(meanwhile)}", ("root",), A_NANO)
            return answer

        monkeypatch.setattr(ledger, "_page", busy)
        assert ledger._faults(None) != []
        assert ledger.verify() == []

    def test_a_fault_is_found(self, ledger):
        ledger.open(Account("a", None, TEN))
        charge(ledger, "a", 2)
        ledger._functions.client.rpop(f"{{{ledger._namespace}}}:log")
        (fault,) = ledger.verify()
        assert fault.startswith("a: spent")

    def test_no_record_is_folded_under_the_eyes_of_who_reads(self, ledger):
        ledger._keep = 10
        ledger.open(Account("a", None, TEN))
        read = ledger.entries()
        charge(ledger, "a", 10)
        first = next(read)
        charge(ledger, "a", 40)
        ledger.beat()
        assert isinstance(first, Entry)
        assert len(list(ledger.entries())) == 50
        ledger._functions.client.delete(f"{{{ledger._namespace}}}:looking")
        ledger.beat()
        assert len(list(ledger.entries())) == 10
        assert ledger.verify() == []

    def test_a_dead_process_is_buried_in_portions(self, redis_server, commands):
        clock, namespace = ShiftedClock(), f"dead{new_id()}"
        dead, alive = (
            RedisLedger(redis_server.url, namespace=namespace, ttl=60, clock=clock)
            for _ in range(2)
        )
        dead.open(Account("root", None, TEN, lasts="standing"))
        for n in range(250):
            run = Account(f"run {n}", "root", Limits.of("$0.01"), Amounts(usd=1), lasts="run")
            dead.open(run)
            dead.open(Account(f"{n}", "root", Limits.of("$0.01"), Amounts(usd=1)))
            assert isinstance(dead.reserve(f"hold {n}", (f"{n}",), A_NANO), Hold)
        dead.close_connection()
        clock.shift += 61
        ran = commands(lambda: alive.balance("root"))
        assert ran("fcall") >= 8
        assert alive.holds() == []
        root = alive.balance("root")
        assert (root.reserved, root.spent) == (Amounts(), Amounts(250, 0, 250, 0))
        assert alive.verify() == []
        clock.shift += 86_500
        ran = commands(lambda: alive.balance("root"))
        assert ran("fcall") >= 3
        assert [each.account for each in alive.accounts() if "run" in each.account] == []
        assert len(alive.accounts()) == 251
        assert alive.verify() == []
        alive.close_connection()


def test_a_ledger_of_others_has_last_records_too():
    ledger = MemoryLedger()
    ledger.open(Account("a", None, TEN))
    charge(ledger, "a", 5)
    last = super(MemoryLedger.__mro__[1], ledger).last_entries(2)
    assert last == ledger.last_entries(2)
