"""What the budget costs beside three other libraries, each in an environment of its own.

Run: ``python benchmarks/peers.py [--rounds 7] [--envs FOLDER] [--only track,pair]``. The
environments are made once, in a folder of the system's for temporary files. In each round all
contestants do the same thing in turns, so that all see the same machine; a ratio is the median of
the rounds'. All times are of the processor, in the thread that calls: what others take of it, and
what a server takes to answer, is not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OPENAI = "openai==2.54.0"
REQUIREMENTS = {
    "ours": [f"-e{ROOT}[openai]", OPENAI],
    "agent-budget-guard": ["agent-budget-guard==0.2.0", OPENAI],
    "agentbudget": ["agentbudget==0.4.0", OPENAI],
    "floe-guard": ["floe-guard==0.25.2", OPENAI],
}
EVENTS = 100_000
MANY_EVENTS = 1_000_000
REPEATED = 5
UNCOUNTED, IN_TURN, TURNS = 5, 15, 16
ENOUGH = 1_000_000.0
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello."},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
}


# -- contestants, each imported only in its own environment ------------------------------------


class Ours:
    """A budget in memory: a tree of accounts, idempotent operations, a record of each."""

    module = "budget_core"
    begin = "budget_core.AgentBudget('$5').session().track(None, 0.01, 'search')"

    def session(self) -> Any:
        from budget_core import AgentBudget

        return AgentBudget(ENOUGH).session()

    def track(self) -> Callable[[], object]:
        track = self.session().track
        return lambda: track(None, 0.01, "search")

    def pair(self, depth: int = 1) -> Callable[[], object]:
        from budget_core import Limits, MemoryLedger
        from budget_core.ledger import Account, new_id
        from budget_core.money.amounts import Amounts

        ledger, parent = MemoryLedger(), None
        for level in range(depth):
            ledger.open(Account(str(level), parent, Limits.of(ENOUGH)))
            parent = str(level)
        accounts = (str(depth - 1),)
        held, came_to = Amounts(20_000_000, 10, 1, 0), Amounts(10_000_000, 9, 1, 0)

        def pair() -> None:
            hold = new_id()
            ledger.reserve(hold, accounts, held)
            ledger.commit(hold, came_to, accounts)

        return pair

    def pair_in_a_tree(self) -> Callable[[], object]:
        return self.pair(3)

    def report(self) -> Callable[[], object]:
        session = self.session()
        for _ in range(EVENTS):
            session.track(None, 0.01, "search")
        return session.report

    @contextmanager
    def guarded(self, client: Any) -> Iterator[Callable[..., object]]:
        import budget_core

        budget_core.init(ENOUGH, max_repeated_calls=None)
        try:
            yield client.chat.completions.create
        finally:
            budget_core.teardown()


class AgentBudgetGuard:
    """A total under a lock; a reservation a call; no record of events."""

    module = "agent_budget_guard"
    begin = "agent_budget_guard.BudgetedSession(budget_usd=5)"

    def pair(self) -> Callable[[], object]:
        from agent_budget_guard.tracking.tracker import SpendTracker

        tracker = SpendTracker(ENOUGH)
        return lambda: tracker.commit(tracker.check_and_reserve(0.02), 0.01)

    track = pair_in_a_tree = pair  # it has no other way to record a cost

    def report(self) -> Callable[[], object]:
        from agent_budget_guard import BudgetedSession

        session = BudgetedSession(budget_usd=ENOUGH)
        tracker = session._tracker
        for _ in range(EVENTS):
            tracker.commit(tracker.check_and_reserve(0.02), 0.01)
        return session.get_summary

    @contextmanager
    def guarded(self, client: Any) -> Iterator[Callable[..., object]]:
        import tiktoken
        from agent_budget_guard import BudgetedSession
        from tiktoken import registry

        # its vocabulary would be downloaded: bytes are counted as fast, for a prompt this short
        registry.ENCODINGS["o200k_base"] = tiktoken.Encoding(
            "bytes",
            pat_str=r"\S+|\s+",
            mergeable_ranks={bytes([value]): value for value in range(256)},
            special_tokens={},
        )
        wrapped = BudgetedSession(budget_usd=ENOUGH).wrap_openai(client)
        yield lambda **asked: wrapped.chat.completions.create(**asked)  # noqa: PLW0108  as written


class AgentBudget:
    """A total under a lock, and a list of all events."""

    module = "agentbudget"
    begin = "agentbudget.AgentBudget('$5').session().track(None, cost=0.01)"

    def session(self) -> Any:
        import agentbudget

        return agentbudget.AgentBudget(ENOUGH).session().__enter__()

    def track(self) -> Callable[[], object]:
        track = self.session().track
        return lambda: track(None, cost=0.01)  # with a name, the tenth within a minute is a loop

    def report(self) -> Callable[[], object]:
        session = self.session()
        for _ in range(EVENTS):
            session.track(None, cost=0.01)
        return session.report

    @contextmanager
    def guarded(self, client: Any) -> Iterator[Callable[..., object]]:
        import agentbudget

        agentbudget.init(ENOUGH, max_repeated_calls=10**9)
        try:
            yield client.chat.completions.create
        finally:
            agentbudget.teardown()


class FloeGuard:
    """Totals under a lock, a reservation a call, and a list of all events."""

    module = "floe_guard"
    begin = "floe_guard.BudgetGuard(5).record_tool('search', 0.01)"

    def track(self) -> Callable[[], object]:
        from floe_guard import BudgetGuard

        record = BudgetGuard(ENOUGH).record_tool
        return lambda: record("search", 0.01)

    def pair(self) -> Callable[[], object]:
        from floe_guard import BudgetGuard

        guard = BudgetGuard(ENOUGH)
        return lambda: guard.settle_tool("search", 0.01, reserved=guard.reserve_tool(0.02))

    pair_in_a_tree = pair

    def report(self) -> Callable[[], object]:
        from floe_guard import BudgetGuard

        guard = BudgetGuard(ENOUGH)
        for _ in range(EVENTS):
            guard.record_tool("search", 0.01)
        return guard.advisory

    @contextmanager
    def guarded(self, client: Any) -> Iterator[Callable[..., object]]:
        from floe_guard import BudgetGuard
        from floe_guard.integrations.openai import guarded_completion

        guard = BudgetGuard(ENOUGH)
        yield lambda **asked: guarded_completion(guard, client, **asked)


CONTESTANTS: dict[str, Any] = {
    "ours": Ours,
    "agent-budget-guard": AgentBudgetGuard,
    "agentbudget": AgentBudget,
    "floe-guard": FloeGuard,
}


# -- what is measured, in the environment of a contestant --------------------------------------


def least(action: Callable[[], object], number: int) -> float:
    """Return the microseconds that an action takes, the least of several repetitions."""
    taken = []
    for _ in range(REPEATED):
        began = time.thread_time()
        for _ in range(number):
            action()
        taken.append((time.thread_time() - began) / number * 1e6)
    return min(taken)


class Worker:
    """Measures one contestant, whenever it is asked to."""

    def __init__(self, name: str) -> None:
        self.contestant = CONTESTANTS[name]()
        self._report: Callable[[], object] | None = None
        self._client: Any = None

    def track(self) -> float:
        return least(self.contestant.track(), 4_000)

    def pair(self) -> float:
        return least(self.contestant.pair(), 4_000)

    def pair_in_a_tree(self) -> float:
        return least(self.contestant.pair_in_a_tree(), 4_000)

    def report(self) -> float:
        self._report = self._report or self.contestant.report()
        return least(self._report, 5)

    def guarded(self, port: str) -> float:
        if self._client is None:
            import openai

            self._client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        added = []
        for _ in range(TURNS):
            raw = timed(self._client.chat.completions.create)
            with self.contestant.guarded(self._client) as create:
                added.append(timed(create) - raw)
        return statistics.median(added)

    def memory(self) -> float:
        """Return the megabytes that a million events take, as `tracemalloc` counts them."""
        import gc
        import tracemalloc

        track = self.contestant.track()
        track()
        gc.collect()
        tracemalloc.start()
        for _ in range(MANY_EVENTS):
            track()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1e6


def timed(create: Callable[..., object]) -> float:
    """Return the microseconds of the processor that a call takes: the median of some in a row."""
    taken = []
    for number in range(UNCOUNTED + IN_TURN):
        began = time.thread_time_ns()
        create(**ASK)
        if number >= UNCOUNTED:
            taken.append((time.thread_time_ns() - began) / 1_000)
    return statistics.median(taken)


def work(name: str) -> None:
    worker = Worker(name)
    for line in sys.stdin:
        measure, *given = line.split()
        print(json.dumps(getattr(worker, measure)(*given)), flush=True)


def serve() -> None:
    """Answer every request at once with the same completion."""
    body = json.dumps(ANSWER).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answer = head % len(body) + body

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as asked:
            length = 0
            for line in asked:
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
                elif line == b"\r\n":
                    asked.read(length)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=talk, args=server.accept()[:1], daemon=True).start()


# -- the run ----------------------------------------------------------------------------------

MEASURES = {
    "track": ("`track` a known cost", "µs", {"agentbudget": 2.0}),
    "pair": ("reserve + commit", "µs", {"agent-budget-guard": 1.3}),
    "pair_in_a_tree": ("the same, ours three accounts deep", "µs", {}),
    "guarded": ("guarded chat completion, added p50", "µs", {"agent-budget-guard": 1.0}),
    "report": (f"report after {EVENTS:,} events", "µs", 50.0),
    "memory": (f"memory of {MANY_EVENTS:,} events", "MB", 5.0),
    "import": ("import", "ms", 15.0),
    "begin": ("import, and begin a budget", "ms", {}),
}
"""What is measured, in which unit, and the most that it may be: a ratio to a peer, or a figure."""
WITHOUT = {
    ("agentbudget", "pair"),
    ("agentbudget", "pair_in_a_tree"),
    ("agent-budget-guard", "memory"),
}
"""What a peer does not have: reservations, or events that are kept."""


def environment(folder: Path, name: str) -> str:
    """Return a contestant's Python, in an environment that is made if it is not there yet."""
    home, wanted = folder / name, "\n".join(REQUIREMENTS[name])
    python, made = home / "bin" / "python", home / "made-of"
    if not made.exists() or made.read_text() != wanted:
        print(f"making {home}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        quiet = ("-q", "--disable-pip-version-check")
        subprocess.run([python, "-m", "pip", "install", *quiet, *REQUIREMENTS[name]], check=True)
        made.write_text(wanted)
    return str(python)


def imported(python: str, code: str) -> float:
    """Return the milliseconds that code takes in a new interpreter, the least of a few."""
    code = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
    runs = [subprocess.check_output([python, "-c", code], cwd="/") for _ in range(REPEATED)]
    return min(map(float, runs)) * 1_000


class Contest:
    """All contestants, each in a process of its environment."""

    def __init__(self, folder: Path, port: str) -> None:
        self.port = port
        self.pythons = {name: environment(folder, name) for name in CONTESTANTS}
        self.workers = {name: self._worker(name) for name in CONTESTANTS}

    def _worker(self, name: str) -> subprocess.Popen[str]:
        command = [self.pythons[name], __file__, "work", name]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd="/")

    def measure(self, name: str, measure: str) -> float:
        kind = CONTESTANTS[name]
        if measure == "import":
            return imported(self.pythons[name], f"import {kind.module}")
        if measure == "begin":
            return imported(self.pythons[name], f"import {kind.module}; {kind.begin}")
        if measure == "memory":
            worker = self._worker(name)  # a fresh one
            return float(worker.communicate("memory\n")[0])
        worker = self.workers[name]
        assert worker.stdin is not None
        assert worker.stdout is not None
        print(measure, self.port if measure == "guarded" else "", file=worker.stdin, flush=True)
        return float(worker.stdout.readline())

    def close(self) -> None:
        for worker in self.workers.values():
            worker.communicate()


def show(measure: str, found: dict[str, list[float]]) -> None:
    """Print a row: ours, and each peer with the ratio of ours to it."""
    what, unit, target = MEASURES[measure]
    mine = found["ours"]
    cells = [f"{statistics.median(mine):.3g} {unit}"]
    missed = isinstance(target, float) and statistics.median(mine) > target
    for name, theirs in found.items():
        if name == "ours":
            continue
        if not theirs:
            cells.append("–")
            continue
        ratio = statistics.median(x / y for x, y in zip(mine, theirs, strict=True))
        cells.append(f"{statistics.median(theirs):.3g} {unit} ({ratio:.2g} ×)")
        if isinstance(target, dict) and name in target:
            missed = ratio > target[name]
    if isinstance(target, float):
        goal = f"≤ {target:g} {unit}"
    else:
        goal = ", ".join(f"≤ {most} × {name}" for name, most in target.items())
    print(f"| {what} | {' | '.join(cells)} | {goal}{' **missed**' if missed else ''} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--envs", type=Path, default=Path(tempfile.gettempdir(), "budget-peers"))
    parser.add_argument("--only", default=",".join(MEASURES))
    asked = parser.parse_args()
    measures = asked.only.split(",")
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        contest = Contest(asked.envs.resolve(), server.stdout.readline().strip())
        found: dict[str, dict[str, list[float]]] = {
            measure: {name: [] for name in CONTESTANTS} for measure in measures
        }
        try:
            for number in range(asked.rounds):
                for measure in measures:
                    if measure == "memory" and number:
                        continue  # it is counted, and the same each time
                    for name in turned(list(CONTESTANTS), number):
                        if (name, measure) not in WITHOUT:
                            found[measure][name].append(contest.measure(name, measure))
        finally:
            contest.close()
            server.terminate()
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}, {OPENAI}; medians of {asked.rounds} rounds"
    )
    print()
    print(
        "| | ours |",
        " | ".join(REQUIREMENTS[name][0] for name in list(CONTESTANTS)[1:]),
        "| target |",
    )
    print("|---" * 6 + "|")
    for measure in measures:
        show(measure, found[measure])


def turned(names: list[str], by: int) -> list[str]:
    """Return names in another order each round."""
    at = by % len(names)
    return names[at:] + names[:at]


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2])
    elif sys.argv[1:2] == ["serve"]:
        serve()
    else:
        main()
