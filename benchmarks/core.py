"""What the guard costs by itself: the ledger beside a bare lock, an estimate, and the import.

Run: ``python benchmarks/core.py``. Ratios are taken within this one run.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import threading
import timeit
from collections.abc import Callable

from budget_core import AgentBudget, CallRequest, Limits, MemoryLedger, Prompt, Usage
from budget_core.ledger import Account, new_id
from budget_core.money.amounts import Amounts

HELD, SPENT = Amounts(1_000, 10, 1, 0), Amounts(900, 9, 1, 0)


def micros(function: Callable[[], object], number: int = 20_000, rounds: int = 15) -> float:
    """Return the median time of one call, in microseconds."""
    function()
    times = timeit.repeat(function, number=number, repeat=rounds)
    return statistics.median(times) / number * 1e6


def bare_lock() -> Callable[[], object]:
    lock, total = threading.Lock(), 0

    def pair() -> None:
        nonlocal total
        with lock:
            total += 1_000
        with lock:
            total -= 100

    return pair


def ledger_pair(depth: int) -> Callable[[], object]:
    ledger, parent = MemoryLedger(), None
    for level in range(depth):
        ledger.open(Account(str(level), parent, Limits.of("$1000000")))
        parent = str(level)
    accounts = (str(depth - 1),)

    def pair() -> None:
        hold = new_id()
        ledger.reserve(hold, accounts, HELD)
        ledger.commit(hold, SPENT, accounts)

    return pair


def whole_call() -> Callable[[], object]:
    session = AgentBudget("$1000000", max_repeated_calls=None).session()
    request = CallRequest(model="gpt-4o", prompt=Prompt([{"role": "user", "content": "Hello"}]))
    usage = Usage(input=8, output=10)
    return lambda: session.open_call(request).settle(usage)


def estimate() -> Callable[[], object]:
    session = AgentBudget("$1000000").session()
    text = "All work and no play makes Jack a dull boy. " * 10_000  # about 100,000 tokens
    request = CallRequest(model="gpt-4o", prompt=Prompt([{"role": "user", "content": text}]))
    return lambda: session.costs.quote(request)


def import_time() -> float:
    """Return the median time that importing budget_core adds to a bare interpreter, in ms."""
    code = (
        "import time; t = time.perf_counter(); import budget_core; print(time.perf_counter() - t)"
    )
    runs = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(15)]
    return statistics.median(map(float, runs)) * 1_000


def main() -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    floor = micros(bare_lock())
    print(f"lock + add, twice             {floor:8.2f} µs")
    for depth, target in ((1, "  target ≤ 4"), (5, "")):
        pair = micros(ledger_pair(depth))
        print(f"reserve + commit, depth {depth}     {pair:8.2f} µs  {pair / floor:5.1f} ×{target}")
    print(f"open_call + settle            {micros(whole_call(), 2_000):8.2f} µs")
    print(f"estimate, 100k-token prompt   {micros(estimate(), 2_000):8.2f} µs  target < 100")
    print(f"import budget_core            {import_time():8.2f} ms  target < 50")


if __name__ == "__main__":
    main()
