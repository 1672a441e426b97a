"""What the ledgers cost: operations a second, beside the floor that the same client reaches.

Run: ``python benchmarks/ledgers.py [seconds] [--only memory sqlite redis]``. A pair is a reserve
and its commit, two operations, in a tree of three levels with a shared root. The floor is one bare
UPDATE in a transaction of its own, or one INCRBY through the same client; each is measured in the
same run, by as many processes, in turns: the round with the median share is shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from budget_core.ledger import Account, Ledger, MemoryLedger, ledger_from, new_id
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

HELD, SPENT = Amounts(1_000, 10, 1, 0), Amounts(900, 9, 1, 0)
BACKENDS = ("memory", "sqlite", "redis")
ROUNDS = 5
TARGETS = {"sqlite": 0.4, "redis": 0.6}


def tree(ledger: Ledger, leaves: int) -> None:
    plenty = Limits.of("$1000000")
    ledger.open(Account("root", None, plenty, lasts="standing"))
    for n in range(leaves):
        ledger.open(Account(f"middle{n}", "root", plenty, lasts="standing"))
        ledger.open(Account(f"leaf{n}", f"middle{n}", plenty, lasts="standing"))


def pairs(ledger: Ledger, leaf: str) -> Callable[[], int]:
    accounts = (leaf,)

    def pair() -> int:
        hold = new_id()
        ledger.reserve(hold, accounts, HELD)
        ledger.commit(hold, SPENT, accounts)
        return 2

    return pair


def floor_of(url: str) -> Callable[[], int]:
    if url.startswith("sqlite"):
        path, _, durability = url.removeprefix("sqlite:///").partition("?durability=")
        connection = sqlite3.connect(f"{path}.floor", timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability or 'normal'}")
        connection.execute("CREATE TABLE IF NOT EXISTS a (id TEXT PRIMARY KEY, n INTEGER)")
        connection.execute("INSERT OR IGNORE INTO a VALUES ('root', 0)")

        def update() -> int:
            connection.execute("UPDATE a SET n = n + 1 WHERE id = 'root'")
            return 1

        return update
    import redis

    client = redis.Redis.from_url(url)

    def increment() -> int:
        client.incrby("floor", 1)
        return 1

    return increment


def rate(step: Callable[[], int], seconds: float) -> float:
    """Return operations a second."""
    for _ in range(20):
        step()
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        count += step()
    return count / (now - began)


def work(what: str, url: str, leaf: str, seconds: str) -> None:
    """Be one of several processes."""
    step = floor_of(url) if what == "floor" else pairs(ledger_from(url), leaf)
    step()
    print("ready", flush=True)
    sys.stdin.readline()
    print(rate(step, float(seconds)), flush=True)


def together(what: str, url: str, processes: int, seconds: float) -> list[float]:
    """Return the rate of each process."""
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "work", what, url, f"leaf{n}", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return [float(process.communicate("go\n")[0]) for process in _told(started)]


def _told(started: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


def compare(kind: str, name: str, url: str, seconds: float) -> None:
    tree(ledger_from(url), 4)
    for processes in (1, 4):
        rounds = [
            (sum(together("floor", url, processes, part)), together("pairs", url, processes, part))
            for part in [seconds / ROUNDS] * ROUNDS
        ]
        floor, rates = sorted(rounds, key=lambda one: sum(one[1]) / one[0])[ROUNDS // 2]
        share, slowest = sum(rates) / floor, min(rates) / (sum(rates) / len(rates))
        print(
            f"{name:14} {processes} process{'es' if processes > 1 else '  '} "
            f"{sum(rates) / 2:9.0f} pairs/s {sum(rates):9.0f} operations/s, floor {floor:9.0f}/s: "
            f"{share:4.0%}  target ≥ {TARGETS[kind]:.0%}   slowest {slowest:.0%} of the mean"
        )


def in_memory(seconds: float) -> None:
    lock, total = threading.Lock(), 0

    def add() -> int:
        nonlocal total
        with lock:
            total += 1
        return 1

    ledger = MemoryLedger()
    tree(ledger, 1)
    floor, reached = rate(add, seconds), rate(pairs(ledger, "leaf0"), seconds)
    print(
        f"{'memory':14} 1 process   {reached / 2:9.0f} pairs/s {reached:9.0f} operations/s, "
        f"floor {floor:9.0f}/s: {reached / floor:4.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=5.0)
    parser.add_argument("--only", nargs="+", default=BACKENDS, choices=BACKENDS)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    with tempfile.TemporaryDirectory(
        prefix="ledgers-", dir=os.environ.get("LEDGERS_DIR")
    ) as folder:
        if "memory" in asked.only:
            in_memory(asked.seconds)
        if "sqlite" in asked.only:
            with_sqlite(folder, asked.seconds)
        if "redis" in asked.only and shutil.which("redis-server"):
            with_redis(Path(folder), asked.seconds)


def with_sqlite(folder: str, seconds: float) -> None:
    for durability in ("normal", "full"):
        url = f"sqlite:///{folder}/{durability}.db?durability={durability}"
        compare("sqlite", f"sqlite {durability}", url, seconds)


def with_redis(folder: Path, seconds: float) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        "redis-server",
        "--port",
        port,
        "--dir",
        str(folder),
        "--logfile",
        "log",
        "--save",
        "",
    ]
    log = ["--appendonly", "yes", "--appendfsync", "everysec"]
    for name, options in (("redis", []), ("redis AOF", log)):
        with subprocess.Popen([*command, *options]) as server:
            time.sleep(0.5)
            compare("redis", name, f"redis://127.0.0.1:{port}/0", seconds)
            server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
    else:
        main()
