"""A file: what becomes of it, and of those who share it."""

import gc
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.budget_core.ledger.clocks import shift

from budget_core import AgentBudget
from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.ledger import Account, ledger_from, new_id
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.ledger.sqlite.database import MIGRATIONS, VERSION
from budget_core.ledger.sqlite.ledger import FORGOTTEN
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

TEN = Limits.of("10")


def usd(amount):
    return Amounts(usd=amount)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "budgets.db"


@pytest.fixture
def ledger(path):
    ledger = SqliteLedger(path, timeout=0.2)
    ledger.open(Account("a", None, TEN))
    yield ledger
    ledger.close_connection()


def spent(ledger):
    return ledger.balance("a").spent.usd


class TestUrls:
    def test_a_url_names_a_file_and_settings(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ledger = ledger_from("sqlite:///some.db?durability=full&ttl=5&on_expiry=release&timeout=1")
        assert ledger.database.path == tmp_path / "some.db"
        assert ledger.ttl == 5
        ledger.open(Account("a", None, TEN))
        assert ledger.database.connection().execute("PRAGMA synchronous").fetchone() == (2,)
        ledger.close_connection()

    def test_one_file_is_one_ledger_in_a_process(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ledger = ledger_from("sqlite:///some.db")
        assert ledger_from(f"sqlite:////{tmp_path}/some.db") is ledger
        assert ledger_from("sqlite:///other.db") is not ledger
        with pytest.raises(InvalidBudget, match="same URL"):
            ledger_from("sqlite:///some.db?ttl=5")

    def test_a_file_is_the_same_wherever_the_process_goes(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ledger = SqliteLedger("some.db")
        ledger.open(Account("a", None, TEN))
        ledger.close_connection()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert spent(ledger) == 0
        assert repr(ledger) == f"SqliteLedger('{tmp_path}/some.db')"
        ledger.close_connection()

    def test_one_that_is_dropped_leaves_no_file_open(self, path):
        def files():
            return [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]

        AgentBudget("$1", ledger=f"sqlite:////{path}").session("a").track(cost=0.1)
        gc.collect()
        assert not [file for file in files() if file.startswith(str(path))]

    def test_the_environment_names_the_default(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BUDGET_LEDGER", f"sqlite:///{tmp_path}/some.db")
        assert isinstance(ledger_from(None), SqliteLedger)

    @pytest.mark.parametrize(
        "url",
        [
            "sqlite://", "sqlite:///", "sqlite://host/some.db", "sqlite:///a.db?what=1",
            "sqlite:///a.db?ttl=soon", "sqlite:///a.db?ttl=0", "sqlite:///a.db?durability=some",
            "sqlite:///a.db?on_expiry=keep",
        ],
    )  # fmt: skip
    def test_nonsense_is_refused(self, url):
        with pytest.raises(InvalidBudget):
            ledger_from(url)


class TestTrouble:
    """What cannot be done raises, and is not done."""

    def test_a_file_that_somebody_else_keeps_locked(self, ledger, path):
        hold = ledger.reserve(new_id(), ["a"], usd(5))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.commit(hold.id, usd(5), ["a"])
        assert spent(ledger) == 0
        other.execute("ROLLBACK")
        other.close()
        assert not ledger.commit(hold.id, usd(5), ["a"]).late
        assert spent(ledger) == 5

    def test_a_turn_that_somebody_else_does_not_end(self, ledger, path):
        import fcntl

        with path.with_name("budgets.db-lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(LedgerUnavailable, match="has been writing for"):
                ledger.charge(new_id(), ["a"], usd(5))
        assert ledger.charge(new_id(), ["a"], usd(5)).after == (usd(5),)

    def test_a_full_disk(self, ledger):
        connection = ledger.database.connection()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        acknowledged = 0
        with pytest.raises(LedgerUnavailable, match="full"):  # noqa: PT012
            for _ in range(10_000):
                ledger.charge(new_id(), ["a"], usd(1))
                acknowledged += 1
        connection.execute("PRAGMA max_page_count = 100000")
        assert spent(ledger) == acknowledged > 0
        ledger.charge(new_id(), ["a"], usd(1))
        assert spent(ledger) == acknowledged + 1
        assert ledger.verify() == []

    def test_a_file_that_is_no_database(self, path):
        path.write_bytes(b"not a database, but long enough to be read as one" * 100)
        with pytest.raises(LedgerUnavailable, match="not a database"):
            SqliteLedger(path).open(Account("a", None, TEN))

    def test_a_database_that_is_damaged(self, ledger, path):
        for _ in range(200):
            ledger.charge(new_id(), ["a"], usd(1))
        ledger.close_connection()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        with pytest.raises(LedgerUnavailable):
            ledger.charge(new_id(), ["a"], usd(1))

    @pytest.mark.parametrize("how", ["moved", "deleted"])
    def test_a_file_that_is_moved_or_deleted_while_it_is_in_use(self, ledger, path, how):
        ledger.charge(new_id(), ["a"], usd(5))
        shift(ledger, 2)  # it is looked at now and then
        if how == "moved":
            path.rename(path.with_suffix(".old"))
        else:
            path.unlink()
        with pytest.raises(LedgerUnavailable, match="moved, replaced or deleted"):
            ledger.charge(new_id(), ["a"], usd(1))
        ledger.open(Account("a", None, TEN))
        ledger.charge(new_id(), ["a"], usd(1))
        assert (path.exists(), spent(ledger)) == (True, 1)

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(LedgerUnavailable, match="unable to open"):
            SqliteLedger(tmp_path / "no" / "some.db").balance("a")

    def test_a_file_that_may_only_be_read(self, ledger, path, tmp_path):
        ledger.charge(new_id(), ["a"], usd(5))
        script = f"""
import os
from budget_core.errors import LedgerUnavailable
from budget_core.ledger import Account, new_id
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.limits import Amounts, Limits
if os.getuid() == 0:
    os.setuid(65534)
try:
    SqliteLedger({str(path)!r}).charge(new_id(), ["a"], Amounts(usd=1))
except LedgerUnavailable as error:
    print(error)
"""
        files = list(tmp_path.iterdir())
        for file in files:
            file.chmod(0o444)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o555)
        try:
            done = run(script)
        finally:
            for folder in (tmp_path, *tmp_path.parents[:2]):
                folder.chmod(0o700)
            for file in files:
                file.chmod(0o600)
        assert "unavailable" in done
        assert spent(ledger) == 5

    def test_a_newer_version_of_the_file(self, ledger, path):
        ledger.close_connection()
        other = sqlite3.connect(path)
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
        other.close()
        with pytest.raises(LedgerUnavailable, match="newer"):
            ledger.balance("a")

    def test_an_older_version_of_the_file_is_brought_up_to_date(self, path):
        other = sqlite3.connect(path)
        other.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        other.close()
        ledger = SqliteLedger(path)
        ledger.open(Account("a", None, TEN))
        connection = ledger.database.connection()
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        ledger.close_connection()

    def test_a_write_ahead_log_that_was_cut_short(self, path):
        script = f"""
import os
from budget_core.ledger import Account, new_id
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.limits import Amounts, Limits
ledger = SqliteLedger({str(path)!r})
ledger.open(Account("a", None, Limits.of("10")))
for _ in range(100):
    ledger.charge(new_id(), ["a"], Amounts(usd=1))
os._exit(9)
"""
        with pytest.raises(subprocess.CalledProcessError):
            run(script)
        log = path.with_name("budgets.db-wal")
        with log.open("r+b") as file:
            file.truncate(log.stat().st_size * 2 // 3)
        ledger = SqliteLedger(path)
        assert 0 < spent(ledger) < 100
        assert ledger.verify() == []
        ledger.close_connection()


def run(script):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout


class TestProcesses:
    def test_another_one_goes_on(self, ledger, path):
        ledger.charge(new_id(), ["a"], usd(5))
        printed = run(f"""
from budget_core.ledger import new_id
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.limits import Amounts
ledger = SqliteLedger({str(path)!r})
print(ledger.charge(new_id(), ["a"], Amounts(usd=2)).after[0].usd)
""")
        assert printed == "7\n"
        assert spent(ledger) == 7

    def test_a_fork_has_a_connection_and_holds_of_its_own(self, ledger):
        mine = ledger.reserve(new_id(), ["a"], usd(1))
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            hold = ledger.reserve(new_id(), ["a"], usd(2))
            ledger.commit(hold.id, usd(2), ["a"])
            ledger.reserve(new_id(), ["a"], usd(3))
            os.write(write, b"done")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 9) == b"done"
        os.close(read)
        os.close(write)
        ledger.commit(mine.id, usd(1), ["a"])
        assert spent(ledger) == 3
        shift(ledger, 30)
        ledger.beat()
        shift(ledger, 40)  # the child's time is over, ours is not
        assert (spent(ledger), ledger.balance("a").reserved.usd) == (6, 0)
        assert ledger.verify() == []

    def test_a_first_operation_that_fails_leaves_the_process_its_lease(self, ledger, path):
        dead = SqliteLedger(path)
        with pytest.raises(KeyError):
            dead.charge(new_id(), ["nobody"], usd(1))
        dead.reserve(new_id(), ["a"], usd(5))
        shift(ledger, 61)
        assert (spent(ledger), ledger.holds()) == (5, [])
        dead.close_connection()

    def test_a_fork_goes_on_when_its_parent_closes_the_file(self, ledger, path):
        read, write = os.pipe()
        ledger.charge(new_id(), ["a"], usd(1))
        child = os.fork()
        if child == 0:
            ledger.charge(new_id(), ["a"], usd(10))
            os.close(write)
            os.read(read, 1)  # until the parent has closed the file
            ledger.charge(new_id(), ["a"], usd(100))
            os._exit(0)
        os.close(read)
        while spent(ledger) < 11:
            pass
        ledger.close_connection()
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0
        assert spent(ledger) == 111

    def test_a_fork_while_another_thread_writes(self, ledger):
        stop = threading.Event()

        def write():
            while not stop.is_set():
                ledger.charge(new_id(), ["a"], usd(1))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    ledger.charge(new_id(), ["a"], usd(1_000_000))
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            writer.join()
        assert spent(ledger) // 1_000_000 == 5
        assert ledger.verify() == []


def test_verifying_keeps_nobody_from_spending(ledger, path):
    other = SqliteLedger(path, timeout=0.2)
    entries, told = type(ledger._records).__iter__, []

    class Entries(type(ledger._records)):
        def __iter__(self):
            told.append(other.charge(new_id(), ["a"], usd(1)))
            return entries(self)

    ledger.charge(new_id(), ["a"], usd(2))
    ledger._records.__class__ = Entries
    assert ledger.verify() == []
    assert told[0].after == (usd(3),)
    assert ledger.verify() == []
    other.close_connection()


def test_forgetting_looks_at_no_account_that_is_not_forgotten(ledger):
    connection = ledger.database.connection()
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {FORGOTTEN}")]
    assert "account_gone" in steps[0]


def test_a_finalizer_that_reads_in_the_middle_of_an_operation_is_answered(ledger):
    class Meddler(str):
        __slots__ = ("meddle",)

        def __hash__(self):
            meddle, self.meddle = getattr(self, "meddle", None), None
            if meddle:
                meddle()
            return str.__hash__(self)

    seen, name = [], Meddler("a")
    name.meddle = lambda: seen.append(ledger.balance("a").spent)
    ledger.charge(new_id(), [name], usd(1))
    assert seen == [usd(0)]


def test_a_handler_of_a_signal_may_end_an_account_in_the_middle_of_an_operation(path, ledger):
    class Meddler(str):
        __slots__ = ()

        def __hash__(self):
            if not cancelled:
                cancelled.append(True)
                ledger.close("a", "cancelled")
            return str.__hash__(self)

    cancelled = []
    ledger.charge(new_id(), [Meddler("a")], usd(1))
    other = SqliteLedger(path)
    assert (other.balance("a").state, spent(other)) == ("cancelled", 1)
    assert other.verify() == []
    other.close_connection()


def test_a_handler_of_a_signal_may_end_an_account_while_it_is_read(path, ledger):
    class Meddler(str):
        __slots__ = ()

        def __hash__(self):
            if not cancelled:
                cancelled.append(True)
                ledger.close("a", "cancelled")
            return str.__hash__(self)

    cancelled = []
    ledger.balance(Meddler("a"))
    other = SqliteLedger(path)
    assert other.balance("a").state == "cancelled"
    other.close_connection()


def test_accounts_that_are_not_used_any_more_take_no_memory(ledger, monkeypatch):
    monkeypatch.setattr("budget_core.ledger.sqlite.ledger.MOST_KNOWN", 10)
    for number in range(50):
        ledger.open(Account(f"thread-{number}", None, TEN))
        ledger.charge(new_id(), [f"thread-{number}"], usd(1))
    assert len(ledger._nodes.known) <= 11
    assert {balance.spent.usd for balance in ledger.accounts()} == {0, 1}
    assert ledger.verify() == []


def test_an_account_that_was_forgotten_in_vain_is_forgotten_by_the_next_operation(
    ledger, monkeypatch
):
    ledger.open(Account("run", None, lasts="run"))
    ledger.forget("run")
    end = ledger.database.end

    def full(connection):
        monkeypatch.setattr(ledger.database, "end", end)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ledger.database, "end", full)
    with pytest.raises(LedgerUnavailable):
        ledger.charge(new_id(), ("a",), usd(1))
    ledger.charge(new_id(), ("a",), usd(1))
    with pytest.raises(KeyError):
        ledger.balance("run")
    assert [each.account for each in ledger.accounts()] == ["a"]
