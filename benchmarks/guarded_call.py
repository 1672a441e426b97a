"""A whole OpenAI call, guarded and raw, against a server that answers at once.

Run: ``python benchmarks/guarded_call.py``. The server runs in a process of its own; raw and
guarded calls take turns, so that both see the same machine.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time

SERVER = """
import sys, threading
from budget_core.testing import Provider
with Provider() as provider:
    print(provider.openai_url, flush=True)
    sys.stdin.read()
"""


def main(calls: int = 3_000) -> None:
    import openai

    from budget_core import AgentBudget, scope
    from budget_core.sdk import guard_loaded

    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    client = openai.OpenAI(base_url=server.stdout.readline().strip(), api_key="benchmark")
    session = AgentBudget("$1000", max_repeated_calls=None).session()
    guard_loaded()

    def call() -> float:
        began = time.perf_counter_ns()
        client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Say hello."}]
        )
        return (time.perf_counter_ns() - began) / 1_000

    raw: list[float] = []
    guarded: list[float] = []
    for _ in range(calls):
        raw.append(call())
        scope.guard(session)
        guarded.append(call())
        scope.unguard(session)
    with contextlib.suppress(BrokenPipeError):
        server.communicate("", timeout=10)

    print(
        f"Python {platform.python_version()}, openai {openai.__version__}, {os.cpu_count()} cores"
    )
    for name, times in (("raw", raw), ("guarded", guarded)):
        cuts = statistics.quantiles(times, n=100)
        print(f"{name:8} p50 {cuts[49]:8.1f} µs   p99 {cuts[98]:8.1f} µs")
    over = statistics.median(g - r for g, r in zip(guarded, raw, strict=True))
    print(f"guard    {over:+.1f} µs a call (median of the pairs), target ≤ 60 µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
