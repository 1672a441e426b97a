"""A whole SDK call, raw and guarded, against a server that answers at once.

Run: ``python benchmarks/guarded_call.py [calls]``. The server runs in a process of its own. Raw
calls (no hooks), passing ones (hooks, but no budget) and guarded ones take turns, so that all see
the same machine.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

SERVER = """
import sys
from budget_core.testing import Provider
with Provider() as provider:
    print(provider.openai_url, provider.anthropic_url, flush=True)
    sys.stdin.read()
"""
SAY = [{"role": "user", "content": "Say hello."}]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1_000


def measure(name: str, call: Callable[[], object], calls: int) -> None:
    from budget_core import AgentBudget, scope
    from budget_core.sdk import Hold

    session = AgentBudget("$1000", max_repeated_calls=None).session()
    times: dict[str, list[float]] = {"raw": [], "passing": [], "guarded": []}
    for _ in range(calls):
        times["raw"].append(timed(call))
        hold = Hold()
        times["passing"].append(timed(call))
        scope.guard(session)
        times["guarded"].append(timed(call))
        scope.unguard(session)
        hold.release()
    for way, taken in times.items():
        cuts = statistics.quantiles(taken, n=100)
        print(f"{name:9} {way:8} p50 {cuts[49]:8.1f} µs   p99 {cuts[98]:8.1f} µs")
    raw = times["raw"]
    for way in ("passing", "guarded"):
        over = statistics.median(t - r for t, r in zip(times[way], raw, strict=True))
        share = over / statistics.median(raw)
        target = "   target ≤ 80 µs or 5 %" if way == "guarded" else ""
        print(f"{name:9} {way:8} {over:+.1f} µs a call, {share:+.1%} (median of pairs){target}")


def main(calls: int = 2_000) -> None:
    import anthropic
    import openai

    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    openai_url, anthropic_url = server.stdout.readline().split()
    gpt = openai.OpenAI(base_url=openai_url, api_key="benchmark")
    claude = anthropic.Anthropic(base_url=anthropic_url, api_key="benchmark")
    print(
        f"Python {platform.python_version()}, openai {openai.__version__}, "
        f"anthropic {anthropic.__version__}, {os.cpu_count()} cores"
    )
    measure(
        "openai",
        lambda: gpt.chat.completions.create(model="gpt-4o", messages=SAY),  # type: ignore[arg-type]
        calls,
    )
    measure(
        "anthropic",
        lambda: claude.messages.create(
            model="claude-sonnet-4-6",
            messages=SAY,  # type: ignore[arg-type]
            max_tokens=100,
        ),
        calls,
    )
    with contextlib.suppress(BrokenPipeError):
        server.communicate("", timeout=10)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
