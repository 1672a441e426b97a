"""Ledgers where things are not as usual: clusters, TLS, processes that die, parts restored."""

import random
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis
from tests.budget_core.ledger.test_acceptance import go, started

from budget_core import AgentBudget, BudgetExhausted, CallRequest, Usage, declare
from budget_core.errors import LedgerUnavailable
from budget_core.ledger import Account, Denial, Hold, ledger_from, new_id
from budget_core.ledger.contract import OperationFailed
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limits

TEN = Limits.of("10")
CENT = 10_000_000


def usd(amount):
    return Amounts(amount, 0, 1, 0)


def paid(ledger, account, amount):
    hold = ledger.reserve(new_id(), (account,), usd(amount))
    return ledger.commit(hold.id, usd(amount), (account,))


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_holds_of_processes_that_are_killed_expire_while_others_go_on(
    kind, redis_server, tmp_path, request
):
    url = f"sqlite:///{tmp_path}/a.db?ttl=1"
    if kind == "redis":
        url = f"{redis_server.url}?ttl=1&namespace=killed{new_id()}"
    ledger = ledger_from(url)
    request.addfinalizer(ledger.close_connection)
    ledger.open(Account("root", None, Limits.of("$1000"), lasts="standing"))
    for n in range(3):
        ledger.open(Account(f"leaf{n}", "root", lasts="standing"))
    processes = [started(url, f"leaf{n}", 60, n, "each") for n in range(3)]
    go(processes)
    heard, chance = {}, random.Random(1)
    for process in processes[:2]:
        for _ in range(chance.randrange(20, 60)):
            heard.update([process.stdout.readline().split()])
        process.kill()
    dead = set()
    for process in processes[:2]:
        heard.update(line.split() for line in process.stdout if line[-1] == "\n")
        process.communicate()
    alive = {view.owner for view in ledger.holds("leaf2")}
    dead = {view.owner for view in ledger.holds()} - alive
    until(lambda: not {"leaf0", "leaf1"} & {a for v in ledger.holds() for a in v.hold.accounts})
    assert dead.isdisjoint(view.owner for view in ledger.holds())
    processes[2].kill()
    processes[2].communicate()
    until(lambda: not ledger.holds())
    recorded = {entry.id: entry for entry in ledger.entries() if entry.kind == "commit"}
    assert all(recorded[key].amounts.usd == int(cost) for key, cost in heard.items())
    expired = [entry for entry in ledger.entries() if entry.kind == "expire"]
    assert all(entry.amounts == entry.held for entry in expired)
    spent = sum(entry.amounts.usd for entry in ledger.entries())
    root = ledger.balance("root")
    assert (root.spent.usd, root.reserved) == (spent, ZERO)
    assert ledger.verify() == []


class TestACluster:
    @pytest.fixture
    def nodes(self, make_redis_server):
        nodes = [make_redis_server("--cluster-enabled", "yes", "--save", "") for _ in range(3)]
        clients = [redis.Redis(port=node.port) for node in nodes]
        for client, (first, last) in zip(
            clients, [(0, 5460), (5461, 10922), (10923, 16383)], strict=True
        ):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for client in clients:
            until(lambda c=client: b"cluster_state:ok" in c.execute_command("CLUSTER", "INFO"))
            until(lambda c=client: c.execute_command("CLUSTER", "NODES").count(b"connected") >= 3)
            client.close()
        return nodes

    def test_each_namespace_is_whole_on_one_of_three_nodes(self, nodes):
        client = redis.RedisCluster(host="127.0.0.1", port=nodes[0].port)
        homes = set()
        for n in range(12):
            ledger = RedisLedger(client, namespace=f"n{n}")
            homes.add(client.get_node_from_key(f"{{n{n}}}").port)
            ledger.open(Account("root", None, Limits.of("$1")))
            ledger.open(Account("a", "root", Limits.of("$1/day"), usd(5), allocated=False))
            entry = paid(ledger, "a", 3)
            assert entry.after == (usd(3), usd(3))
            assert ledger.describe("a").parent == "root"
            assert [each.account for each in ledger.accounts()] == ["a", "root"]
            assert ledger.last_entries(1) == [entry]
            assert ledger.verify() == []
        assert homes == {node.port for node in nodes}
        client.close()

    def test_a_url_of_one_node_says_what_to_do(self, nodes):
        others = [node for node in nodes if node is not nodes[2]]  # where "budget" is
        for node in others:
            ledger = RedisLedger(node.url)
            with pytest.raises(OperationFailed, match=r"redis\.RedisCluster"):
                ledger.open(Account("a", None, TEN))
            ledger.close_connection()
        ledger = RedisLedger(nodes[2].url)
        ledger.open(Account("a", None, TEN))
        ledger.close_connection()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
class TestTls:
    @pytest.fixture
    def server(self, make_redis_server, tmp_path):
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run(  # noqa: S603
            [  # noqa: S607
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1",
                "-addext", "subjectAltName=IP:127.0.0.1",
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        plain = make_redis_server("--save", "")
        with redis.Redis(port=plain.port) as client:
            client.config_set("tls-cert-file", str(certificate))
            client.config_set("tls-key-file", str(key))
            client.config_set("tls-ca-cert-file", str(certificate))
            client.config_set("tls-auth-clients", "no")
            port = plain.port + 1
            client.config_set("tls-port", port)
        return f"rediss://127.0.0.1:{port}/0", certificate

    def test_a_server_with_a_certificate_that_is_trusted(self, server, monkeypatch):
        url, certificate = server
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with closing(redis.Redis.from_url(url)) as client:
            client.ping()
        ledger = RedisLedger(url)
        ledger.open(Account("a", None, TEN))
        assert paid(ledger, "a", 3).after == (usd(3),)
        assert ledger.verify() == []
        ledger.close_connection()

    def test_one_that_nobody_trusts_is_told_nothing(self, server):
        ledger = RedisLedger(server[0], timeout=1)
        with pytest.raises(LedgerUnavailable, match="certificate"):
            ledger.open(Account("a", None, TEN))
        ledger.close_connection()


def test_two_namespaces_under_load_know_nothing_of_each_other(redis_server):
    ledgers = [RedisLedger(redis_server.url, namespace=f"{n}-{new_id()}") for n in range(2)]
    for n, ledger in enumerate(ledgers):
        ledger.open(Account("a", None, Limits.of("$1")))
        ledger.open(Account(f"only {n}", "a"))

    def work(at):
        n, turn = at % 2, at // 2
        paid(ledgers[n], f"only {n}", 1 + n)
        hold = ledgers[n].reserve(f"same id {turn}", ("a",), usd(5))
        ledgers[n].release(hold.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    for n, ledger in enumerate(ledgers):
        assert ledger.balance("a").spent.usd == 200 * (1 + n)
        assert ledger.balance("a").reserved == ZERO
        assert [each.account for each in ledger.accounts()] == ["a", f"only {n}"]
        assert ledger.verify() == []
        ledger.close_connection()


def test_limits_that_change_while_money_is_spent(ledger):
    low, high = 50 * CENT, 100 * CENT
    declare("team", "$1", ledger=ledger)
    ledger.open(Account("a", "team"))
    stop = threading.Event()

    def change():
        amounts = 0
        while not stop.is_set():
            declare("team", ("$0.50", "$1")[amounts % 2], ledger=ledger, update=True)
            amounts += 1
        return amounts

    def spend(_):
        held = 0
        for _ in range(100):
            hold = ledger.reserve(new_id(), ("a",), usd(CENT))
            if isinstance(hold, Denial):
                assert hold.limit in {low, high}
                continue
            held += 1
            ledger.commit(hold.id, usd(CENT // 2), ("a",))
        return held

    with ThreadPoolExecutor(5) as pool:
        changing = pool.submit(change)
        held = sum(pool.map(spend, range(4)))
        stop.set()
        assert changing.result(60) > 0
    declare("team", "$1", ledger=ledger, update=True)
    team = ledger.balance("team")
    assert team.spent.usd == held * CENT // 2 <= high
    assert team.reserved == ZERO
    assert ledger.verify() == []


@pytest.mark.usefixtures("penny")
def test_parents_and_children_wait_for_each_other(ledger):
    parent = AgentBudget("$0.05", ledger=ledger).session("parent")
    children = [parent.child_session("$0.02") for _ in range(3)]
    request = CallRequest(model="penny", input_tokens=0, output_cap=1_000)

    def work(n):
        payer = (parent, *children)[n % 4]
        done = 0
        for _ in range(5):
            try:
                call = payer.open_call(request, wait=60)
            except BudgetExhausted:
                break
            call.settle(Usage(output=100, input=0))
            done += 1
        return done

    with ThreadPoolExecutor(12) as pool:
        done = sum(pool.map(work, range(12)))
    assert parent.reserved == 0
    assert parent.spent_nanos == done * CENT // 10 <= 5 * CENT
    assert done >= 40
    assert ledger.verify() == []


class TestAPartialRestore:
    def test_a_server_that_comes_back_as_it_was_before(self, make_redis_server):
        server = make_redis_server("--save", "", "--appendonly", "no")
        ledger = RedisLedger(server.url)
        ledger.open(Account("a", None, Limits.of("$1")))
        paid(ledger, "a", 5)
        old = ledger.reserve(new_id(), ("a",), usd(7))
        ledger._functions.client.save()
        new = ledger.reserve(new_id(), ("a",), usd(11))
        lost = paid(ledger, "a", 13)
        server.kill()
        server.start()
        assert ledger.balance("a")[3:5] == (usd(5), usd(7))
        entry = ledger.commit(new.id, usd(11), ("a",))
        assert (entry.late, entry.after) == (True, (Amounts(16, 0, 2, 0),))
        assert ledger.commit(old.id, usd(7), ("a",)).late is False
        again = ledger.commit(lost.id, usd(13), ("a",))
        assert again.after == (Amounts(36, 0, 4, 0),)
        assert ledger.verify() == []
        ledger.close_connection()

    def test_a_file_that_is_put_back_as_it_was_before(self, tmp_path):
        path, copy = tmp_path / "a.db", tmp_path / "copy.db"
        ledger = SqliteLedger(path)
        ledger.open(Account("a", None, Limits.of("$1")))
        paid(ledger, "a", 5)
        ledger.close_connection()
        shutil.copy(path, copy)
        hold = ledger.reserve(new_id(), ("a",), usd(11))
        assert isinstance(hold, Hold)
        ledger.close_connection()
        shutil.copy(copy, path)
        entry = ledger.commit(hold.id, usd(11), ("a",))
        assert (entry.late, entry.after) == (True, (Amounts(16, 0, 2, 0),))
        assert ledger.verify() == []
        ledger.close_connection()
