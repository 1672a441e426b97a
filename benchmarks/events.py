"""What listeners cost: a call without any, with each, and while an endpoint hangs or is down.

Run: ``python benchmarks/events.py [rounds]``. Each round measures every way once, so that all see
the same machine. A call is one that is opened and settled, without any SDK around it.
"""

from __future__ import annotations

import itertools
import logging
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from budget_core import AgentBudget, CallRequest, Prompt, Usage
from budget_core.events.ingest import Ingest
from budget_core.events.jsonl import JsonLines
from budget_core.events.logs import LogListener
from budget_core.events.otel import OpenTelemetry
from budget_core.events.outbox import Outbox
from budget_core.events.webhook import Webhook

CALLS = 1_000
REQUEST = CallRequest(model="gpt-4o", prompt=Prompt([{"role": "user", "content": "Hello"}]))
USAGE = Usage(input=8, output=10)


SERVER = """
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


@contextmanager
def endpoints() -> Iterator[dict[str, str]]:
    """Give the URLs of an endpoint that answers, one that hangs, and one that is down."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server, socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        yield {
            "answers": f"http://127.0.0.1:{int(server.stdout.readline())}/",
            "hangs": f"http://127.0.0.1:{mute.getsockname()[1]}/",
            "is down": "http://127.0.0.1:9/",
        }
        server.terminate()


def ways(urls: dict[str, str], folder: str) -> dict[str, list[Callable]]:
    """Return the listeners of each way."""
    every = {
        "no listener": [],
        "a callable": [lambda _event: None],
        "logging, off": [LogListener()],
        "JSON lines": [JsonLines(f"{folder}/events.jsonl")],
        "OpenTelemetry, no SDK": [OpenTelemetry()],
        "OpenTelemetry, SDK": [OpenTelemetry(TracerProvider(), MeterProvider())],
    }
    for state, url in urls.items():
        every[f"a webhook that {state}"] = [Webhook(url)]
        every[f"a collector that {state}"] = [Ingest(url)]
    return every


def measure(listeners: list[Callable]) -> list[float]:
    """Time calls one by one, in microseconds."""
    budget = AgentBudget("$1000000", max_repeated_calls=None, listeners=listeners)
    session, taken = budget.session(), []
    for _ in range(CALLS):
        began = time.perf_counter_ns()
        session.open_call(REQUEST).settle(USAGE)
        taken.append((time.perf_counter_ns() - began) / 1_000)
    return taken


def timed(box: Outbox, event: dict[str, str]) -> float:
    began = time.perf_counter_ns()
    box.put(event)
    return (time.perf_counter_ns() - began) / 1_000


def main(rounds: int = 10) -> None:
    logging.disable()
    with ExitStack() as stack:
        urls = stack.enter_context(endpoints())
        every = ways(urls, stack.enter_context(tempfile.TemporaryDirectory()))
        taken: dict[str, list[list[float]]] = {way: [] for way in every}
        for _ in range(rounds):
            for way, listeners in every.items():
                taken[way].append(measure(listeners))
                for box in (one for one in listeners if isinstance(one, Outbox)):
                    box.flush(0.3)  # what is still sent is not to be seen in the next way's figures
        bare = [statistics.median(turn) for turn in taken["no listener"]]
        for way, turns in taken.items():
            cuts = statistics.quantiles(itertools.chain(*turns), n=1_000)
            over = statistics.median(
                statistics.median(turn) - base for turn, base in zip(turns, bare, strict=True)
            )
            print(
                f"{way:26} p50 {cuts[499]:7.1f} µs  p99 {cuts[989]:7.1f} µs  "
                f"p99.9 {cuts[998]:7.1f} µs  {over:+6.1f} µs a call"
            )
        for way, listeners in every.items():
            for box in (one for one in listeners if isinstance(one, Outbox)):
                puts = sorted(timed(box, {"event_type": "soft_limit"}) for _ in range(CALLS))
                box.close(0)
                print(
                    f"{way:26} to queue an event: p50 {puts[CALLS // 2]:.1f} µs, "
                    f"longest {puts[-1]:.0f} µs; {box.counts}"
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
