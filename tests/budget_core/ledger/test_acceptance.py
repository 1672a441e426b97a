"""Many processes on one ledger, some of them killed; a server that is killed under load.

Short by default. In full length, as it is meant: ``LEDGERS=full pytest -k acceptance``.
"""

import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.budget_core.ledger.clocks import shift

from budget_core import AgentBudget, BudgetExhausted, CallRequest, LedgerUnavailable
from budget_core.ledger import Account
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.resilient import ledger as module
from budget_core.ledger.sqlite import SqliteLedger
from budget_core.money.limits import Limit, Limits

FULL = os.environ.get("LEDGERS") == "full"
SECONDS = 20 if FULL else 1
KILLS = 50 if FULL else 6
SMALL = 30_000 if FULL else 500
HAMMER = Path(__file__).parent / "hammer.py"


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/budgets.db"
    server = request.getfixturevalue("redis_server")
    return f"{server.url}?namespace={tmp_path.name}&keep_entries=10000000"


@pytest.fixture
def ledger(url):
    """A tree of three levels; one of its branches has little money."""
    if url.startswith("sqlite"):
        ledger = SqliteLedger(url.removeprefix("sqlite:///"))
    else:
        server, _, query = url.partition("?")
        namespace = query.partition("=")[2].partition("&")[0]
        ledger = RedisLedger(server, namespace=namespace, keep_entries=10_000_000)
    plenty = Limits((Limit("usd", 10**12),))
    ledger.open(Account("root", None, plenty, lasts="standing"))
    for branch, limit in (("rich", 10**12), ("poor", SMALL)):
        limits = Limits((Limit("usd", limit),))
        ledger.open(Account(branch, "root", limits, lasts="standing"))
        for n in range(4):
            ledger.open(Account(f"{branch}{n}", branch, plenty, lasts="standing"))
    yield ledger
    ledger.close_connection()


def started(url, leaf, seconds, seed, say):
    command = [sys.executable, str(HAMMER), url, leaf, str(seconds), str(seed), say]
    return subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def go(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def test_acceptance_eight_processes_on_one_tree(url, ledger):
    leaves = [f"{branch}{n}" for branch in ("rich", "poor") for n in range(4)]
    processes = [started(url, leaf, SECONDS, seed, "sums") for seed, leaf in enumerate(leaves)]
    go(processes)
    while any(process.poll() is None for process in processes):
        for branch, limit in (("root", 10**12), ("poor", SMALL)):
            standing = ledger.balance(branch)
            assert standing.spent.usd + standing.reserved.usd <= limit
        time.sleep(0.02)
    lines = [process.communicate()[0].splitlines() for process in processes]
    operations, spent = zip(*(map(int, told[-1].split()[1:]) for told in lines), strict=True)
    for leaf, amount in zip(leaves, spent, strict=True):
        assert ledger.balance(leaf).spent.usd == amount
    assert ledger.balance("root").spent.usd == sum(spent)
    assert ledger.balance("poor").spent.usd == sum(spent[4:]) <= SMALL
    assert ledger.balance("poor").remaining() < 20  # it was contended to its end
    assert ledger.holds() == []
    assert ledger.balance("root").reserved.usd == 0
    assert ledger.verify() == []
    share = min(operations) / (sum(operations) / 8)
    print(f"{sum(operations) / SECONDS:.0f}/s, slowest {share:.0%} of the mean: {operations}")
    assert min(operations) > 0
    if FULL:
        assert share >= 0.4


def test_acceptance_killed_at_any_point(url, ledger):
    chance, acknowledged = random.Random(7), {}
    for turn in range(0, KILLS, 2):
        processes = [started(url, f"rich{n}", 60, turn + n, "each") for n in range(2)]
        go(processes)
        for process in processes:
            for _ in range(chance.randrange(1, 40)):
                line = process.stdout.readline()
                acknowledged.update([line.split()])
            process.kill()
        for process in processes:
            whole = [line for line in process.stdout if line[-1] == "\n"]
            process.communicate()
            acknowledged.update(line.split() for line in whole)
    recorded = {entry.id: entry for entry in ledger.entries() if entry.kind == "commit"}
    assert len(acknowledged) > KILLS
    for key, cost in acknowledged.items():
        assert recorded[key].amounts.usd == int(cost)
    assert ledger.verify() == []
    shift(ledger, 61)
    assert ledger.verify() == []
    assert ledger.holds() == []
    assert ledger.balance("root").reserved.usd == 0
    total = sum(entry.amounts.usd for entry in ledger.entries())
    assert ledger.balance("root").spent.usd == total


def test_acceptance_a_server_killed_under_load(make_redis_server, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(module, "RETRY", 0.05)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    caplog.set_level(logging.CRITICAL)
    server = make_redis_server("--appendonly", "yes", "--save", "")
    inner = RedisLedger(server.url, timeout=0.5, keep_entries=10_000_000)
    open_ = AgentBudget("$1000", ledger=inner, on_unavailable="open").session("open")
    closed = AgentBudget("$1000", ledger=inner).session("closed")
    settled, refused, stop = {"open": [], "closed": []}, [], threading.Event()

    def work(session, seed):
        chance = random.Random(seed)
        while not stop.is_set():
            cost = chance.randrange(1, 10**6)
            try:
                call = session.open_call(CallRequest(kind="tool", name="t", cost=cost), wait=0)
            except LedgerUnavailable:
                refused.append(session.id)
                time.sleep(0.01)
            else:
                call.settle(None)
                settled[session.id].append(cost)

    threads = [
        threading.Thread(target=work, args=(s, n)) for n, s in enumerate((open_, closed) * 2)
    ]
    for thread in threads:
        thread.start()

    def until(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    try:
        for _ in range(5 if FULL else 2):
            before = len(settled["closed"])
            until(lambda before=before: len(settled["closed"]) > before + 50)
            server.kill()
            many, mark = len(settled["open"]), len(refused)
            until(
                lambda many=many, mark=mark: (
                    len(settled["open"]) > many + 50 and len(refused) > mark + 5
                )
            )
            server.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert set(refused) == {"closed"}
    until(lambda: time.monotonic() > open_.ledger._away_until)  # it is asked, not remembered
    assert open_.spent_nanos == sum(settled["open"])
    assert closed.spent_nanos == sum(settled["closed"])
    assert open_.ledger.owed == 0
    assert inner.verify() == []
    with pytest.raises(BudgetExhausted):
        open_.open_call(CallRequest(kind="tool", name="t", cost=10**12), wait=0)
    inner.close_connection()
