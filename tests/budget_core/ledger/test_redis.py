"""A server on the network: what is lost on the way, and what becomes of the server."""

import os
import select
import signal
import socket
import threading
import time

import pytest
import redis

from budget_core.errors import HoldConflict, InvalidBudget, LedgerUnavailable
from budget_core.ledger import Account, ledger_from, new_id
from budget_core.ledger.redis import RedisLedger, functions
from budget_core.ledger.redis.codec import offsets
from budget_core.ledger.redis.functions import library
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits

TEN = Limits.of("10")


def usd(amount):
    return Amounts(usd=amount)


def money(ledger):
    balance = ledger.balance("a")
    return balance.spent.usd, balance.reserved.usd


class CutLine:
    """A wire to the server that can be cut: before it hears a command, or before it answers."""

    def __init__(self, port):
        self.port = port
        self.cut = None
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        with client, socket.create_connection(("127.0.0.1", self.port)) as server:
            cut = None
            while True:
                for end in select.select([client, server], [], [])[0]:
                    if not (data := end.recv(65536)):
                        return
                    # neither the greeting of a new connection nor a heartbeat is cut
                    if end is client and b"FCALL" in data and b"_beat\r" not in data:
                        cut = self.cut
                    if (end is client and cut == "before") or (end is server and cut == "after"):
                        self.cuts, self.cut = self.cuts + 1, None
                        return
                    (server if end is client else client).sendall(data)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


@pytest.fixture
def line(redis_server):
    line = CutLine(redis_server.port)
    yield line
    line.close()


@pytest.fixture
def ledger(line, redis_server):
    with redis.Redis(port=redis_server.port) as client:
        client.function_load(library()[0], replace=True)
    ledger = RedisLedger(line.url, namespace=f"line{new_id()}", timeout=2)
    ledger.open(Account("a", None, TEN))
    ledger.charge(new_id(), ["a"], usd(0))
    yield ledger
    ledger.close_connection()


@pytest.mark.parametrize("cut", ["before", "after"])
class TestLostOnTheWay:
    """Each operation once, whether the question or the answer is lost."""

    def test_reserve(self, ledger, line, cut):
        line.cut = cut
        ledger.reserve(new_id(), ["a"], usd(4))
        assert (line.cuts, money(ledger)) == (1, (0, 4))

    def test_extend(self, ledger, line, cut):
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        line.cut = cut
        ledger.extend(hold, usd(6))
        assert (line.cuts, money(ledger)) == (1, (0, 6))

    def test_commit(self, ledger, line, cut):
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        line.cut = cut
        entry = ledger.commit(hold, usd(3), ["a"])
        assert (line.cuts, money(ledger), entry.late) == (1, (3, 0), False)

    def test_release(self, ledger, line, cut):
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        line.cut = cut
        assert ledger.release(hold).kind == "release"
        assert (line.cuts, money(ledger)) == (1, (0, 0))

    def test_charge(self, ledger, line, cut):
        line.cut = cut
        ledger.charge(new_id(), ["a"], usd(3))
        assert (line.cuts, money(ledger)) == (1, (3, 0))

    def test_top_up(self, ledger, line, cut):
        line.cut = cut
        assert ledger.top_up("a", usd(5)).remaining() == 10 * 10**9 + 5
        assert (line.cuts, ledger.balance("a").remaining()) == (1, 10 * 10**9 + 5)

    def test_open(self, ledger, line, cut):
        line.cut = cut
        ledger.open(Account("b", "a", TEN, reserve=usd(2)))
        assert (line.cuts, money(ledger)) == (1, (0, 2))


class TestServer:
    def test_functions_that_it_has_forgotten_are_sent_again(self, ledger, redis_server):
        ledger._functions.client.function_flush()
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        ledger._functions.client.function_flush()
        ledger.commit(hold, usd(3), ["a"])
        assert money(ledger) == (3, 0)

    def test_one_that_is_not_there_is_unavailable(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ledger = RedisLedger(f"redis://127.0.0.1:{port}", timeout=0.2)
        with pytest.raises(LedgerUnavailable, match="refused"):
            ledger.balance("a")

    def test_one_that_hangs_is_given_up(self, make_redis_server):
        server = make_redis_server()
        ledger = RedisLedger(server.url, timeout=0.3)
        ledger.open(Account("a", None, TEN))
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(LedgerUnavailable, match="Timeout"):
                ledger.reserve(new_id(), ["a"], usd(1))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        ledger.close_connection()

    def test_one_that_refuses_to_write_is_unavailable_and_changes_nothing(self, make_redis_server):
        ledger = RedisLedger(make_redis_server().url)
        ledger.open(Account("a", None, TEN))
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        client = ledger._functions.client
        client.config_set("maxmemory", "1")
        with pytest.raises(LedgerUnavailable, match="memory"):
            ledger.commit(hold, usd(3), ["a"])
        client.config_set("maxmemory", "0")
        assert money(ledger) == (0, 4)
        assert not ledger.commit(hold, usd(3), ["a"]).late
        ledger.close_connection()

    def test_one_that_is_killed_and_comes_back_has_what_it_answered(self, make_redis_server):
        server = make_redis_server("--appendonly", "yes", "--save", "")
        ledger = RedisLedger(server.url)
        ledger.open(Account("a", None, TEN))
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        ledger.charge(new_id(), ["a"], usd(1))
        server.kill()
        server.start()
        assert money(ledger) == (1, 4)
        ledger.commit(hold, usd(3), ["a"])
        assert money(ledger) == (4, 0)
        assert ledger.verify() == []
        ledger.close_connection()

    def test_all_keys_are_in_one_slot(self, redis_server):
        ledger = RedisLedger(redis_server.url, namespace="slot")
        ledger.open(Account("a", None, Limits.of("$1/day in Europe/Berlin")))
        hold = ledger.reserve(new_id(), ["a"], usd(4)).id
        ledger.commit(hold, usd(1), ["a"])
        ledger.reserve(new_id(), ["a"], usd(4))
        ledger.top_up("a", usd(1))
        keys = ledger._functions.client.keys("*slot*")
        assert len(keys) >= 9
        assert all(key.startswith(b"{slot}:") for key in keys)
        ledger.close_connection()


def test_records_beyond_those_that_are_kept_are_folded_and_all_adds_up(redis_server):
    ledger = RedisLedger(redis_server.url, namespace=f"fold{new_id()}", keep_entries=5)
    ledger.open(Account("root", None, Limits((Limit("usd", 100),))))
    ledger.open(Account("a", "root"))
    for n in range(20):
        hold = ledger.reserve(new_id(), ["a"], usd(2)).id
        ledger.commit(hold, usd(n % 4), ["a"])
    ledger.beat()
    assert [entry.amounts.usd for entry in ledger.entries()] == [3, 0, 1, 2, 3]
    assert ledger.balance("root").spent == usd(30)
    assert ledger.verify() == []
    ledger.close_connection()


class TestTheShortWay:
    """Reserves and commits in plain accounts, which are done without the shared functions."""

    def left_by_some_calls(self, server):
        """Return all that some calls leave behind, but for times."""
        namespace = f"short{new_id()}"
        ledger = RedisLedger(server.url, namespace=namespace)
        limits = Limits.of("100", tokens=1000, llm_calls=9, tool_calls=7)
        ledger.open(Account("root", None, limits, Amounts(5, 50, 1, 1)))
        ledger.open(Account("a", "root", Limits.of("50")))
        ledger.open(Account("b", "a"))
        answers = [ledger.reserve(f"{n}", ["b"], Amounts(7, 90, 2, n)) for n in range(6)]
        answers += [ledger.commit(f"{n}", Amounts(9, 80 + n, 1, 2), ["b"]) for n in (0, 1, 0)]
        answers.append(ledger.commit("2", Amounts(10**9, 1, 1, 1), ["b"]))
        answers += [ledger.balance(account) for account in ("root", "a", "b")]
        assert ledger.verify() == []
        kept = ledger._functions.client.hgetall(f"{{{namespace}}}:accounts")
        entries = [entry._replace(time=0) for entry in ledger.entries()]
        ledger.close_connection()
        timeless = [x._replace(time=0) if hasattr(x, "time") else x for x in answers]
        return timeless, kept, entries

    def test_leaves_what_the_long_way_does(self, redis_server, monkeypatch):
        short = self.left_by_some_calls(redis_server)
        monkeypatch.setattr(functions, "SHORT", ())
        library.cache_clear()
        long = self.left_by_some_calls(redis_server)
        library.cache_clear()
        assert short == long


@pytest.mark.parametrize("limit", [2**53 + 1, 2**60 + 1, 10**18 + 7])
def test_every_nano_counts_however_much_money_it_is(redis_server, limit):
    ledger = RedisLedger(redis_server.url, namespace=f"big{new_id()}")
    ledger.open(Account("root", None, Limits((Limit("usd", limit),)), usd(limit // 3)))
    ledger.open(Account("a", "root", Limits((Limit("usd", limit - 1),)), allocated=False))
    room = limit - limit // 3
    assert ledger.headroom(["a"]).usd == room
    assert ledger.reserve(new_id(), ["a"], usd(room + 1)).remaining == room
    hold = ledger.reserve(new_id(), ["a"], usd(room)).id
    assert ledger.reserve(new_id(), ["a"], usd(1)).remaining == 0
    assert ledger.extend(hold, usd(room - 1)).amounts == usd(room - 1)
    assert ledger.commit(hold, usd(room - 2), ["a"]).after == (usd(room - 2),) * 2
    assert ledger.balance("root").spent == usd(room - 2)
    assert ledger.top_up("root", usd(limit)).remaining() == 2 * limit - room + 2
    assert ledger.verify() == []
    ledger.close_connection()


def test_a_fork_has_connections_and_holds_of_its_own(redis_server):
    ledger = RedisLedger(redis_server.url, namespace=f"fork{new_id()}")
    ledger.open(Account("a", None, TEN))
    mine = ledger.reserve(new_id(), ["a"], usd(1))
    if (child := os.fork()) == 0:
        for _ in range(50):
            hold = ledger.reserve(new_id(), ["a"], usd(2))
            ledger.commit(hold.id, usd(2), ["a"])
        os._exit(0)
    for _ in range(50):
        ledger.charge(new_id(), ["a"], usd(1))
    assert os.waitpid(child, 0)[1] == 0
    ledger.commit(mine.id, usd(1), ["a"])
    assert money(ledger) == (151, 0)
    ledger.close_connection()


def test_a_cluster_is_asked_through_its_own_client(make_redis_server):
    server = make_redis_server("--cluster-enabled", "yes", "--save", "")
    with redis.Redis(port=server.port) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until = time.monotonic() + 20
        while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO"):
            assert time.monotonic() < until
            time.sleep(0.01)
    ledger = RedisLedger(redis.RedisCluster(host="127.0.0.1", port=server.port))
    ledger.open(Account("a", None, TEN))
    hold = ledger.reserve(new_id(), ["a"], usd(4))
    assert ledger.commit(hold.id, usd(3), ["a"]).after == (usd(3),)
    assert ledger.verify() == []
    ledger.close_connection()


class TestUrls:
    def test_a_url_names_a_server_and_settings(self, redis_server):
        url = f"{redis_server.url}?namespace=mine&ttl=5&timeout=2&keep_entries=9&on_expiry=release"
        ledger = ledger_from(url)
        assert ledger_from(url) is ledger
        assert ledger_from(f"{redis_server.url}?namespace=other") is not ledger
        ledger.open(Account("a", None, TEN))
        assert ledger._functions.client.hkeys("{mine}:accounts") == [b"a"]
        ledger.close_connection()

    def test_what_names_a_ledger_is_the_same_in_every_process(self):
        url, client = "rediss://me:secret@host:1/0", redis.Redis(host="host", password="secret")
        assert repr(ledger_from(url)) == "RedisLedger('rediss://host:1/0', namespace='budget')"
        assert repr(RedisLedger(client, namespace="b")) == (
            "RedisLedger('redis://host:6379/0', namespace='b')"
        )

    @pytest.mark.parametrize(
        "url",
        [
            "redis://me:secret@host/0?what=1", "redis://me:secret@host/0?ttl=soon",
            "redis://host/0?password=secret", "redis://:sec/secret@host:port/0",
            "redis://me:secret@host:port/0", "redis://me:secret@[::1/0",
            "nosuch://me:secret@host/0",
        ],
    )  # fmt: skip
    def test_a_password_is_not_shown(self, url):
        with pytest.raises(InvalidBudget) as error:
            ledger_from(url)
        assert "secret" not in str(error.value)

    @pytest.mark.parametrize(
        "query",
        [
            "what=1",
            "timeout=inf",
            "keep_entries=0",
            "namespace={x}",
            "namespace=",
            "on_expiry=keep",
        ],
    )
    def test_nonsense_is_refused(self, query):
        with pytest.raises(InvalidBudget):
            ledger_from(f"redis://localhost/0?{query}")

    def test_without_its_client_it_says_what_to_install(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "redis", None)
        for name in ("budget_core.ledger.redis", "budget_core.ledger.redis.ledger"):
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delitem(sys.modules, "budget_core.ledger.redis.functions")
        with pytest.raises(InvalidBudget, match=r"budget-suite\[redis\]"):
            ledger_from("redis://elsewhere/0")


def test_a_client_that_decodes_will_do(redis_server):
    client = redis.Redis(port=redis_server.port, decode_responses=True)
    ledger = RedisLedger(client, namespace=f"text{new_id()}")
    ledger.open(Account("a", None, TEN))
    hold = ledger.reserve(new_id(), ["a"], usd(4)).id
    assert ledger.commit(hold, usd(3), ["a"]).amounts == usd(3)
    with pytest.raises(HoldConflict):
        ledger.commit(hold, usd(4), ["a"])
    with pytest.raises(KeyError):
        ledger.charge(new_id(), ["nobody"], usd(4))
    assert ledger.verify() == []
    ledger.close_connection()


def test_a_zones_offsets_change_when_its_clocks_do():
    from datetime import datetime
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Berlin")
    known = offsets("Europe/Berlin")
    assert offsets("Asia/Tokyo") == [[0, 32_400]]
    assert len(known) > 50
    for at, offset in known[1:]:
        moments = [datetime.fromtimestamp(t, zone).utcoffset() for t in (at - 1, at)]
        assert moments[0] != moments[1]
        assert moments[1].total_seconds() == offset
