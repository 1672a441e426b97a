"""A whole SDK call, raw and guarded, against a server that answers at once.

Run: ``python benchmarks/guarded_call.py [rounds]``. The server runs in a process of its own. In
each round twenty raw calls (no hooks), twenty passing ones (hooks, but no budget) and twenty
guarded ones take turns, so that all see the same machine. A few before each are not counted, as
Python has to learn anew what a class's methods are when the hooks come and go.
"""

from __future__ import annotations

import contextlib
import itertools
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
UNCOUNTED = 5
IN_TURN = 20
SAY = [{"role": "user", "content": "Say hello."}]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1_000


def timed_some(call: Callable[[], object]) -> list[float]:
    for _ in range(UNCOUNTED):
        call()
    return [timed(call) for _ in range(IN_TURN)]


def measure(name: str, call: Callable[[], object], rounds: int) -> None:
    from budget_core import AgentBudget
    from budget_core.calls import context
    from budget_core.sdk.installing import Hold

    session = AgentBudget("$1000", max_repeated_calls=None).session()
    turns: dict[str, list[list[float]]] = {"raw": [], "passing": [], "guarded": []}
    for _ in range(rounds):
        turns["raw"].append(timed_some(call))
        hold = Hold()
        turns["passing"].append(timed_some(call))
        context.guard(session)
        turns["guarded"].append(timed_some(call))
        context.unguard(session)
        hold.release()
    for way, taken in turns.items():
        cuts = statistics.quantiles(itertools.chain(*taken), n=100)
        print(f"{name:9} {way:8} p50 {cuts[49]:8.1f} µs   p99 {cuts[98]:8.1f} µs")
    medians = {way: [statistics.median(turn) for turn in taken] for way, taken in turns.items()}
    raw = medians["raw"]
    for way in ("passing", "guarded"):
        over = statistics.median(t - r for t, r in zip(medians[way], raw, strict=True))
        share = over / statistics.median(raw)
        target = "   target ≤ 80 µs or 5 %" if way == "guarded" else ""
        print(f"{name:9} {way:8} {over:+.1f} µs a call, {share:+.1%} (median of rounds){target}")


def main(rounds: int = 60) -> None:
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
        rounds,
    )
    measure(
        "anthropic",
        lambda: claude.messages.create(
            model="claude-sonnet-4-6",
            messages=SAY,  # type: ignore[arg-type]
            max_tokens=100,
        ),
        rounds,
    )
    with contextlib.suppress(BrokenPipeError):
        server.communicate("", timeout=10)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
