"""What a ledger does with many threads, and what sessions cost that come and go.

Run: ``python benchmarks/core.py``. One thread and several take turns, so that all see the same
machine; a share is the median of the turns'. What one thread does alone is measured in processor
time.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable

from budget_core import AgentBudget, CallRequest, Limits, MemoryLedger, Prompt
from budget_core.ledger import Account, new_id
from budget_core.money.amounts import Amounts

HELD, SPENT = Amounts(1_000, 10, 1, 0), Amounts(900, 9, 1, 0)
PAIRS = 20_000
TURNS = 7
AT_ONCE = 1_000
IN_A_ROW = 100_000


def pairs_a_second(threads: int) -> float:
    """Return how many pairs of reserve and commit threads make in all, on one ledger."""
    ledger = MemoryLedger()
    ledger.open(Account("a", None, Limits.of("$1000000")))
    ready = threading.Barrier(threads + 1)

    def work() -> None:
        ready.wait()
        for _ in range(PAIRS // threads):
            hold = new_id()
            ledger.reserve(hold, ("a",), HELD)
            ledger.commit(hold, SPENT, ("a",))

    working = [threading.Thread(target=work) for _ in range(threads)]
    for thread in working:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in working:
        thread.join()
    return PAIRS / (time.perf_counter() - began)


def opened(number: int, *, close: bool) -> tuple[list[float], list[object]]:
    """Open child sessions; return the microseconds of each, and those that are kept."""
    parent = AgentBudget("$1000000").session()
    taken, kept = [], [parent]
    for _ in range(number):
        began = time.thread_time_ns()
        child = parent.child_session("$1")
        taken.append((time.thread_time_ns() - began) / 1_000)
        if close:
            child.close()
        else:
            kept.append(child)
    return taken, kept


def growth() -> tuple[int, int]:
    """Return the blocks of memory in use after ten thousand children, and after a hundred thousand.

    A test counts the bytes with `tracemalloc`, which takes its time.
    """
    parent = AgentBudget("$1000000").session()

    def some(number: int) -> int:
        for _ in range(number):
            with parent.child_session("$1") as child:
                child.track(cost=0.001, tool_name="search")
        gc.collect()
        return sys.getallocatedblocks()

    return some(IN_A_ROW // 10), some(IN_A_ROW - IN_A_ROW // 10)


def estimate() -> Callable[[], object]:
    session = AgentBudget("$1000000").session()
    text = "All work and no play makes Jack a dull boy. " * 10_000  # about 100,000 tokens
    request = CallRequest(model="gpt-4o", prompt=Prompt([{"role": "user", "content": text}]))
    return lambda: session.estimator.quote(request)


def micros(action: Callable[[], object], number: int) -> float:
    action()
    taken = []
    for _ in range(TURNS):
        began = time.thread_time()
        for _ in range(number):
            action()
        taken.append((time.thread_time() - began) / number * 1e6)
    return statistics.median(taken)


def main() -> None:
    locked = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    print(
        f"Python {platform.python_version()} {locked} a global lock, {platform.machine()}, "
        f"{os.cpu_count()} cores, {platform.system()}"
    )
    counts = (1, 2, 8)
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(TURNS):
        for count in counts:
            rates[count].append(pairs_a_second(count))
    for count in counts:
        share = statistics.median(x / y for x, y in zip(rates[count], rates[1], strict=True))
        rate = statistics.median(rates[count])
        print(f"reserve + commit, {count} threads     {rate:10,.0f} pairs/s  {share:5.2f} of one's")
    one, _ = opened(2 * AT_ONCE, close=True)
    print(f"opening a child                 {statistics.median(one):10.1f} µs  target ≤ 60")
    many, kept = opened(AT_ONCE, close=False)
    print(f"… while {AT_ONCE:,} stay open         {statistics.median(many):10.1f} µs")
    del kept
    few, all_of_them = growth()
    print(
        f"in use after {IN_A_ROW // 10:,} children   {few:10,} blocks; "
        f"after {IN_A_ROW:,} {all_of_them:,}"
    )
    print(f"worst case, 100k-token prompt   {micros(estimate(), 2_000):10.1f} µs")


if __name__ == "__main__":
    main()
