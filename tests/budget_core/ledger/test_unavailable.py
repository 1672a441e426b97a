"""A ledger that is away for a while: a real server, killed and started again."""

import fcntl
import gc
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import ref

import pytest

from budget_core import AgentBudget, BudgetExhausted, CallRequest, LedgerUnavailable, Usage, declare
from budget_core.ledger import Headroom
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.resilient import ledger as module
from budget_core.ledger.resilient.journal import Debt, Journal
from budget_core.ledger.resilient.last_known import LastKnown
from budget_core.ledger.resilient.ledger import ResilientLedger, resilient
from budget_core.money.amounts import Amounts

USD = 10**9


@pytest.fixture(autouse=True)
def _now(monkeypatch, tmp_path, caplog):
    """Ask a ledger that was away again at once, and keep journals apart."""
    monkeypatch.setattr(module, "RETRY", 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def server(make_redis_server):
    return make_redis_server("--appendonly", "yes", "--appendfsync", "always", "--save", "")


@pytest.fixture
def inner(server):
    ledger = RedisLedger(server.url, timeout=0.2)
    yield ledger
    ledger.close_connection()


def request(cost=0.0):
    return CallRequest(kind="tool", name="tool", cost=int(cost * USD))


def budget(inner, mode="open", limit="$1", **options):
    return AgentBudget(limit, ledger=inner, on_unavailable=mode, **options)


def journals(tmp_path):
    return list(tmp_path.glob("budget-suite/*.jsonl"))


class TestClosed:
    def test_refuses_before_the_call(self, inner, server):
        session = budget(inner, "closed").session("a")
        server.kill()
        with pytest.raises(LedgerUnavailable) as error:
            session.open_call(request(0.1))
        assert error.value.session_id == "a"
        assert "refused" in error.value.reason
        with pytest.raises(LedgerUnavailable):
            budget(inner, "closed").session("b")

    def test_a_call_that_was_under_way_is_owed_and_told_when_it_is_back(
        self, inner, server, tmp_path
    ):
        session = budget(inner, "closed").session("a")
        call = session.open_call(request(0.3))
        other = session.open_call(request(0.2))
        server.kill()
        call.settle(None)
        other.release()
        session.track(cost=0.1)
        assert len(journals(tmp_path)) == 1
        server.start()
        assert (session.spent, session.reserved) == (0.4, 0)
        assert inner.verify() == []
        assert journals(tmp_path) == []
        assert not any(entry.late for entry in inner.entries())

    @pytest.mark.parametrize("mode", ["closed", "open"])
    def test_a_hold_whose_answer_was_lost_is_given_back(self, inner, server, mode):
        session = budget(inner, mode).session("a")
        session.open_call(request(0.1)).release()  # the server knows the functions
        inner.top_up("a", Amounts(usd=USD))
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(LedgerUnavailable if mode == "closed" else BudgetExhausted):
                session.open_call(request(1.1))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert session.reserved == 0
        assert inner.holds() == []

    def test_a_session_may_end_meanwhile_and_its_account_is_closed_later(self, inner, server):
        with budget(inner, "closed", finalization_reserve="$0.1").session("a") as session:
            server.kill()
        server.start()
        assert session.balance().state == "closed"
        with session:
            assert session.balance().state == "open"

    def test_one_that_is_owed_something_is_kept_until_it_is_told(self, server):
        ledger = RedisLedger(server.url, timeout=0.2)
        session, known = budget(ledger, "closed").session("a"), ref(resilient(ledger))
        server.kill()
        session.track(cost=0.1)
        del session, ledger
        gc.collect()
        server.start()
        known().beat()
        gc.collect()
        assert known() is None


class TestOpen:
    def test_goes_on_within_what_was_left(self, inner, server):
        session = budget(inner).session("a")
        session.track(cost=0.5)
        server.kill()
        session.open_call(request(0.3)).settle(None)
        assert session.spent == 0.8
        with pytest.raises(BudgetExhausted):
            session.open_call(request(0.3))
        session.open_call(request(0.2)).release()
        session.open_call(request(0.2)).settle(None)
        assert session.would_exceed(0.01)
        server.start()
        assert (session.spent, session.reserved) == (1.0, 0)
        assert inner.verify() == []

    def test_a_model_call_too(self, inner, server, penny):
        session = budget(inner).session("a")
        server.kill()
        call = session.open_call(CallRequest(model=penny, input_tokens=0, output_cap=1_000))
        call.settle(Usage(output=500))
        server.start()
        assert session.spent == 0.005

    def test_calls_that_were_under_way_keep_what_they_hold(self, inner, server):
        session = budget(inner).session("a")
        call = session.open_call(request(0.6))
        server.kill()
        with pytest.raises(BudgetExhausted):
            session.open_call(request(0.5))
        call.settle(None)
        session.open_call(request(0.4)).settle(None)
        server.start()
        assert session.spent == 1.0
        assert inner.verify() == []

    def test_an_ancestors_money_is_not_spent_by_each_child(self, inner, server):
        declare("team", "$1", ledger=inner)
        parent = budget(inner, limit=None, parent="team").session("p")
        children = [parent.child_session("$0.7") for _ in range(2)]
        server.kill()
        children[0].open_call(request(0.7)).settle(None)
        with pytest.raises(BudgetExhausted):
            children[1].open_call(request(0.7))
        children[1].open_call(request(0.3)).settle(None)
        server.start()
        assert parent.spent_nanos == inner.balance("team").spent.usd == USD

    def test_a_shared_accounts_money_is_not_spent_by_each_session(self, inner, server):
        declare("team", "$1", ledger=inner)
        sessions = [budget(inner, limit="$0.7", parent="team").session() for _ in range(2)]
        server.kill()
        sessions[0].open_call(request(0.7)).settle(None)
        with pytest.raises(BudgetExhausted):
            sessions[1].open_call(request(0.7))
        sessions[1].open_call(request(0.3)).settle(None)
        server.start()
        assert sessions[0].spent_nanos + sessions[1].spent_nanos == USD
        assert inner.balance("team").spent.usd == USD

    def test_what_was_never_known_is_refused(self, inner, server):
        known = budget(inner).session("a")
        server.kill()
        with pytest.raises(LedgerUnavailable):
            budget(inner).session("b")
        with pytest.raises(LedgerUnavailable):
            known.top_up("$1")

    def test_one_that_is_closed_is_not_opened_by_another(self, inner, server):
        budget(inner, "open").session("a")
        closed = budget(inner, "closed").session("b")
        server.kill()
        with pytest.raises(LedgerUnavailable):
            closed.open_call(request(0.1))

    def test_a_session_may_end_meanwhile(self, inner, server):
        with budget(inner).session("a") as session:
            server.kill()
            session.open_call(request(0.3))
            session.track(cost=0.1)
        server.start()
        assert budget(inner).session("a").spent == 0.4

    @pytest.mark.parametrize("mode", ["closed", "open"])
    def test_one_that_has_lost_its_accounts_is_told_what_calls_come_to(self, inner, server, mode):
        parent = budget(inner, mode).session("a")
        child = parent.child_session("$0.5", name="b")
        call = child.open_call(request(0.2))
        inner._functions.client.flushall()
        call.settle(None)
        child.open_call(request(0.1)).settle(None)
        assert (parent.spent, child.spent) == (0.3, 0.3)
        assert inner.verify() == []

    def test_a_shared_account_that_is_lost_must_be_declared_again(self, inner, server):
        declare("team", "$1", ledger=inner)
        session = budget(inner, "closed", parent="team").session("a")
        call = session.open_call(request(0.2))
        inner._functions.client.flushall()
        call.settle(None)
        with pytest.raises(LedgerUnavailable, match="lost account 'team'"):
            session.open_call(request(0.1))
        declare("team", "$1", ledger=inner)
        session.open_call(request(0.1)).settle(None)
        assert inner.balance("team").spent.usd == 3 * USD // 10

    def test_what_a_session_owes_is_told_though_nobody_can_name_it(self, inner, server):
        declare("team", "$1", ledger=inner)
        session = budget(inner, parent="team").session()
        server.kill()
        session.track(cost=0.1)
        del session
        gc.collect()
        server.start()
        resilient(inner).beat()
        assert inner.balance("team").spent.usd == USD // 10
        assert [balance.account for balance in inner.accounts()] == ["team"]

    def test_a_server_that_comes_back_empty_is_told_at_least_this(self, inner, server):
        session = budget(inner).session("a")
        server.kill()
        session.open_call(request(0.3)).settle(None)
        shutil.rmtree(server.folder / "appendonlydir")
        server.start()
        assert session.spent == 0.3

    def test_a_process_that_ends_meanwhile_leaves_its_debts_to_the_next(
        self, inner, server, tmp_path
    ):
        budget(inner).session("a").close()
        script = f"""
import sys
from budget_core import AgentBudget
from budget_core.ledger.redis import RedisLedger
session = AgentBudget("$1", ledger=RedisLedger({server.url!r}, timeout=0.2),
                      on_unavailable="open").session("a")
session.track(cost=0.1)
print("ready", flush=True)
sys.stdin.readline()
session.track(cost=0.2)
print("paid", flush=True)
sys.stdin.readline()
"""
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "ready\n"
            server.kill()
            other.stdin.write("go on\n")
            other.stdin.flush()
            assert other.stdout.readline() == "paid\n"
            other.kill()
        server.start()
        fresh = RedisLedger(server.url, timeout=0.2)
        assert budget(fresh).session("a").spent == 0.3
        assert journals(tmp_path) == []
        fresh.close_connection()

    def test_a_ledger_is_not_told_what_its_neighbour_is_owed(self, server):
        script = f"""
from budget_core import AgentBudget
from budget_core.ledger.redis import RedisLedger
session = AgentBudget("$1", ledger=RedisLedger({server.url!r}, timeout=0.2)).session("a")
RedisLedger({server.url!r})._functions.client.shutdown(nosave=True)
session.track(cost=0.2)
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)  # noqa: S603
        server.process.wait()
        server.start()
        neighbour = RedisLedger(server.url, namespace="other")
        ledger = RedisLedger(server.url)
        assert budget(neighbour).session("a").spent == 0
        assert budget(ledger).session("a").spent == 0.2
        neighbour.close_connection()
        ledger.close_connection()


def connections(inner):
    """Count how often the server was connected to."""
    return inner._functions.client.info("stats")["total_connections_received"]


class TestThreads:
    def test_those_who_wait_for_one_that_hangs_wait_once_for_all(self, inner, server, monkeypatch):
        monkeypatch.setattr(module, "RETRY", 60)
        session = budget(inner, "closed").session("a")
        resilient(inner)._journal.add(TestJournal.DEBT)
        began = threading.Barrier(8)

        def call(_):
            began.wait()
            with pytest.raises(LedgerUnavailable):
                session.open_call(request(0.1))

        before = connections(inner)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(call, range(8)))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert connections(inner) == before  # nobody but the first one has tried

    def test_a_fork_waits_for_no_thread_of_its_parent(self, inner):
        session = budget(inner, "closed").session("a")
        ledger, namesakes = resilient(inner), session.standing._openers
        with ledger._paying, ledger._last_known._lock:
            locked = threading.Thread(target=namesakes.lock.acquire)  # never given back
            locked.start()
            locked.join()
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                ledger._journal.add(TestJournal.DEBT._replace(accounts=("a",)))
                session.track(cost=0.1)
                session.close()
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert session.spent_nanos == USD // 10 + 5


class TestJournal:
    DEBT = Debt("charge", "x-1", ("a",), Amounts(5))

    def test_is_of_one_ledger(self, tmp_path):
        Journal("one", tmp_path).add(self.DEBT)
        other = Journal("two", tmp_path)
        other.adopt()
        assert len(other) == 0

    def test_one_that_is_in_use_is_left_alone(self, tmp_path):
        mine = Journal("one", tmp_path)
        mine.add(self.DEBT)
        other = Journal("one", tmp_path)
        other.adopt()
        assert len(other) == 0
        assert list(mine) == [self.DEBT]

    def test_a_line_that_was_not_finished_counts_for_nothing(self, tmp_path):
        mine = Journal("one", tmp_path)
        mine.add(self.DEBT)
        (path,) = tmp_path.iterdir()
        with path.open("a") as file:
            file.write('["charge", "x-2", ["a"')
        os.close(mine._file)  # it is dead
        other = Journal("one", tmp_path)
        other.adopt()
        assert list(other) == [self.DEBT]
        other.paid(self.DEBT)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_paid_is_not_told_again_by_whoever_takes_it_over(self, tmp_path):
        mine, other_debt = Journal("one", tmp_path), self.DEBT._replace(id="x-2")
        mine.add(self.DEBT)
        mine.add(other_debt)
        mine.paid(self.DEBT)
        os.close(mine._file)  # it is dead
        other = Journal("one", tmp_path)
        other.adopt()
        assert list(other) == [other_debt]

    @pytest.mark.parametrize(
        "line", [b"5", b"[1, 2, 3, 4]", b"{}", b"\xff\xfe", b'["cancel", "x", [], [1, 2, 3, 4]]']
    )
    def test_one_that_is_damaged_is_read_as_far_as_that_goes_and_kept(self, tmp_path, line):
        mine = Journal("one", tmp_path)
        mine.add(self.DEBT)
        (path,) = tmp_path.iterdir()
        path.write_bytes(line + b"\n" + path.read_bytes())
        os.close(mine._file)  # it is dead
        other = Journal("one", tmp_path)
        other.adopt()
        assert list(other) == [self.DEBT]
        assert path.with_suffix(".damaged").exists()

    def test_a_disk_that_is_full_in_the_middle_of_a_line(self, tmp_path):
        script = f"""
import resource
from budget_core.ledger.resilient.journal import Debt, Journal
from budget_core.money.limits import Amounts
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 1000))
journal = Journal("one", {str(tmp_path)!r})
for n in range(3):
    journal.add(Debt("charge", f"x-{{n}}", ("a",), Amounts(5)))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal.add(Debt("charge", "x-9", ("a",), Amounts(5)))
print(len(journal))
"""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == "4\n"
        journal = Journal("one", tmp_path)
        journal.adopt()
        assert [debt.id for debt in journal] == ["x-0", "x-1", "x-9"]

    def test_where_nothing_can_be_written_debts_are_in_memory(self, inner, server, tmp_path):
        (tmp_path / "budget-suite").write_text("a file, not a folder")
        session = budget(inner).session("a")
        server.kill()
        session.track(cost=0.1)
        server.start()
        assert session.spent == 0.1

    def test_who_has_no_home_has_a_journal_too(self, monkeypatch, tmp_path):
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        def nowhere():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", nowhere)
        Journal("one").add(self.DEBT)
        assert len(list(tmp_path.glob("budget-suite-*/*.jsonl"))) == 1

    def test_a_fork_leaves_debts_and_their_file_to_its_parent(self, tmp_path):
        mine = Journal("one", tmp_path)
        mine.add(self.DEBT)
        ours, theirs = socket.socketpair()
        with mine._lock:  # another thread may be writing
            child = os.fork()
            if child == 0:
                mine.add(self.DEBT._replace(id="x-2"))
                theirs.send(b"%d" % len(mine))
                theirs.recv(1)
                os._exit(0)
        assert ours.recv(1) == b"1"
        os.close(mine._file)  # it is dead, and its child lives
        other = Journal("one", tmp_path)
        other.adopt()
        ours.send(b"!")
        os.waitpid(child, 0)
        assert list(other) == [self.DEBT]
        ours.close()
        theirs.close()

    def test_a_new_file_that_was_taken_for_a_dead_ones_is_made_again(self, tmp_path, monkeypatch):
        mine, adopted, flock = Journal("one", tmp_path), [], fcntl.flock

        def late(file, how):
            if how == fcntl.LOCK_EX and not adopted:
                adopted.append(Journal("one", tmp_path))
                adopted[0].adopt()
            flock(file, how)

        monkeypatch.setattr(fcntl, "flock", late)
        mine.add(self.DEBT)
        assert [path.exists() for path in (mine._path, *tmp_path.iterdir())] == [True, True]

    def test_what_a_ledger_refuses_stays_in_the_file(self, inner, tmp_path):
        ledger = ResilientLedger(inner, Journal("one", tmp_path / "j"))
        ledger._journal.add(self.DEBT)
        ledger.beat()
        assert ledger.owed == 0
        assert len(list((tmp_path / "j").iterdir())) == 1


def test_a_finalizer_may_forget_in_the_middle_of_an_operation():
    last_known = LastKnown()
    for name in ("a", "b"):
        last_known.know(name, None, Headroom(5, None, None, None))

    def amounts():
        last_known.forget("b")
        yield from (1, 0, 0, 0)

    thread = threading.Thread(target=last_known.take, args=(["a"], amounts()), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert (last_known.left(["a"]), last_known.left(["b"])) == ((4, None, None, None), None)


def test_one_ledger_has_one_memory(inner):
    assert resilient(inner) is resilient(inner)
    assert resilient(resilient(inner)) is resilient(inner)
