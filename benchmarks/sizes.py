"""What looking at a large ledger costs, and how large one is.

Run: ``python benchmarks/sizes.py [records] [accounts] [--only memory sqlite redis]``. Records are
charges in a tree of three levels. On Redis, the slow log tells how long each command held the
server. Each look is a process of its own, whose memory is its peak.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from budget_core import declare
from budget_core.ledger import Account, Ledger, MemoryLedger, ledger_from, new_id
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

BACKENDS = ("memory", "sqlite", "redis")
COST = Amounts(900, 9, 1, 0)
LOOKS = ("accounts", "describe", "declare", "entries", "entries of one", "holds", "verify")


def accounts_in(ledger: Ledger, many: int) -> None:
    plenty = Limits.of("$1000000")
    ledger.open(Account("root", None, plenty, lasts="standing"))
    for n in range(many - 1):
        ledger.open(Account(f"team:{n:08}", "root", plenty, lasts="standing"))


def records_in(ledger: Ledger, many: int) -> None:
    plenty = Limits.of("$1000000")
    ledger.open(Account("middle", "root", plenty, lasts="standing"))
    ledger.open(Account("leaf", "middle", plenty, lasts="standing"))
    for _ in range(many):
        ledger.charge(new_id(), ("leaf",), COST)


def look(what: str, url: str) -> None:
    """Be the process that looks."""
    ledger = ledger_from(url)
    ledger.balance("root")
    began = time.perf_counter()
    match what:
        case "accounts":
            ledger.accounts()
        case "describe":
            ledger.describe("root")
        case "declare":
            declare("team:new", "$5/day", ledger=ledger, update=True)
        case "entries":
            ledger.last_entries(20)
        case "entries of one":
            ledger.last_entries(20, "leaf")
        case "holds":
            ledger.holds()
        case "verify":
            assert ledger.verify() == []
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:15} {seconds:8.3f} s   peak {peak:6.0f} MB")


def looked_at(url: str) -> None:
    for what in LOOKS:
        subprocess.run([sys.executable, __file__, "look", what, url], check=True)


def in_memory(records: int, accounts: int) -> None:
    ledger = MemoryLedger(keep_entries=records)
    tracemalloc.start()
    accounts_in(ledger, accounts)
    account = tracemalloc.get_traced_memory()[0]
    records_in(ledger, records)
    entry = tracemalloc.get_traced_memory()[0] - account
    print(f"memory: {account / accounts:.0f} bytes an account, {entry / records:.0f} an entry")


def in_sqlite(folder: Path, records: int, accounts: int) -> None:
    path = folder / "sizes.db"
    url = f"sqlite:///{path}"
    ledger = ledger_from(url)

    def size() -> int:
        ledger.close_connection()
        return path.stat().st_size

    ledger.accounts()
    empty = size()
    accounts_in(ledger, accounts)
    account = size() - empty
    records_in(ledger, records)
    entry = size() - account - empty
    print(f"sqlite: {account / accounts:.0f} bytes an account, {entry / records:.0f} an entry")
    looked_at(url)


def in_redis(folder: Path, records: int, accounts: int) -> None:
    import redis

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", ""]
    url = f"redis://127.0.0.1:{port}/0?keep_entries=1000000000"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        time.sleep(0.5)
        client = redis.Redis(port=port)
        client.config_set("slowlog-max-len", 100_000)

        def size() -> int:
            used: int = client.info("memory")["used_memory"]
            return used

        empty, ledger = size(), ledger_from(url)
        accounts_in(ledger, accounts)
        account = size() - empty
        records_in(ledger, records)
        entry = size() - account - empty
        print(f"redis: {account / accounts:.0f} bytes an account, {entry / records:.0f} an entry")
        client.config_set("slowlog-log-slower-than", 1_000)
        for what in LOOKS:
            client.slowlog_reset()
            subprocess.run([sys.executable, __file__, "look", what, url], check=True)
            slow = [each["duration"] / 1000 for each in client.slowlog_get(100_000)]
            print(f"{'':15} held the server for at most {max(slow, default=1):.1f} ms at a time")
        server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=int, nargs="?", default=20_000)
    parser.add_argument("accounts", type=int, nargs="?", default=2_000)
    parser.add_argument("--only", nargs="+", default=BACKENDS, choices=BACKENDS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("LEDGERS_DIR")) as folder:
        if "memory" in asked.only:
            in_memory(asked.records, asked.accounts)
        if "sqlite" in asked.only:
            in_sqlite(Path(folder), asked.records, asked.accounts)
        if "redis" in asked.only and shutil.which("redis-server"):
            in_redis(Path(folder), asked.records, asked.accounts)


if __name__ == "__main__":
    if sys.argv[1:2] == ["look"]:
        look(*sys.argv[2:])
    else:
        main()
