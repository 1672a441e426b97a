"""Fixtures that every suite shares."""

import asyncio
import gc
import inspect
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import certifi
import hypothesis
import pytest

from budget_core import MemoryLedger, register_model
from budget_core.calls import context
from budget_core.events.jsonl import JsonLines
from budget_core.ledger.resolve import ledger_from
from budget_core.money.prices import lookup, registry
from budget_core.testing import Provider
from budget_core.testing.runner import Runner

hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")  # machines that are busy find no fault in the code


def pytest_collection_modifyitems(items):
    """Trace for coverage what tests without a framework run: it takes half as long again.

    The conformance tests of our adapters are traced, too: they run the kit that is in the core.
    A test that forks is not: its child would wait for ever for a lock of the tracer that another
    thread held at that moment.
    """
    for item in items:
        traced = {"budget_core", "budget_cli", "budget_compat"} & set(item.path.parts)
        if (not traced and item.path.name != "test_conformance.py") or _forks(item.function):
            item.add_marker(pytest.mark.no_cover)


def _forks(code):
    code = getattr(code, "__code__", code)
    return "fork" in code.co_names or any(map(_forks, filter(inspect.iscode, code.co_consts)))


def pytest_collection_finish():
    """Spare collections in tests the modules of all frameworks, which take seconds to traverse."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory):
    """Reading all of them takes most of a client's making, and here nobody is verified."""
    end = "-----END CERTIFICATE-----\n"
    first, _, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(end)
    path = tmp_path_factory.mktemp("certificates") / "one.pem"
    path.write_text(first + end, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def interruptible():
    """Let the programs that a test starts be interrupted, also where the test may not be.

    What is started in the background often ignores SIGINT, and hands that on.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _each_in_a_context_of_its_own():
    """A call that a test leaves open encloses nothing of the next one."""
    yield
    context.clear()


@pytest.fixture
def penny():
    """A model whose input is free and whose thousand tokens of output cost a cent."""
    register_model("penny", 0, 10, max_output_tokens=16_384)
    yield "penny"
    registry.clear()
    lookup.forget()


@pytest.fixture(scope="session")
def scratch():
    """A folder for ledgers, in memory if there is a file system there."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="budgets-", dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_url(scratch):
    """A server of Redis, one for all tests of this process that share one."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    import redis

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = ["--dir", str(scratch), "--logfile", "redis.log", "--save", ""]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, *place]
    with subprocess.Popen(command) as server:  # noqa: S603
        with redis.Redis(
            port=int(port), retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200)
        ) as client:
            client.ping()
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def ledger_url(request):
    """An empty ledger of each kind, which every budget of the test uses that names none.

    For what must hold on all of them: ``pytestmark = pytest.mark.usefixtures("ledger_url")``.
    """
    match request.param:
        case "memory":
            url = "memory://"
        case "sqlite":
            url = f"sqlite:///{request.getfixturevalue('scratch')}/{uuid.uuid4()}.db"
        case "redis":
            url = f"{request.getfixturevalue('redis_url')}?namespace={uuid.uuid4()}"
    request.getfixturevalue("monkeypatch").setenv("BUDGET_LEDGER", url)
    yield url
    if url != "memory://":
        ledger_from(url).close_connection()


class WatchedLedger(MemoryLedger):
    """Tells who waits: `waiting` is released once for each call that begins to."""

    def __init__(self):
        super().__init__()
        self.waiting = threading.Semaphore(0)
        self.began, self.ended = 0, 0

    def watch(self, callback, account=None):
        end = super().watch(callback, account)
        self.began += 1
        self.waiting.release()

        def counted():
            self.ended += 1
            end()

        return counted


class BlockingLedger(WatchedLedger):
    """A ledger that is asked in threads, and whose answer to a reserve can be held up."""

    blocks = True

    def __init__(self):
        super().__init__()
        self.entered, self.answer, self.released = (threading.Event() for _ in range(3))
        self.answer.set()

    def reserve(self, *args, **options):
        held = super().reserve(*args, **options)
        self.entered.set()
        assert self.answer.wait(30)
        return held

    def release(self, hold_id):
        entry = super().release(hold_id)
        self.released.set()
        return entry


@pytest.fixture
def watched():
    return WatchedLedger()


@pytest.fixture
def blocking():
    return BlockingLedger()


ASKED = (
    "open", "reserve", "extend", "commit", "release", "charge", "balance", "headroom",
    "keep_back", "top_up", "close", "llm_holds",
)  # fmt: skip


class WaitingLedger(MemoryLedger):
    """A ledger that blocks: each answer waits until the event loop has taken a turn.

    It keeps what stopped the loop: what it was asked for in the loop's own thread, or while the
    loop took no turn.
    """

    blocks = True

    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.stopped = []
        self.asked = set()


def _noting(name):
    original = getattr(MemoryLedger, name)

    def asked(self, *args, **options):
        self.asked.add(name)
        turn = threading.Event()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.loop.call_soon_threadsafe(turn.set)
            if not turn.wait(20):
                self.stopped.append(name)
        else:
            self.stopped.append(name)
        return original(self, *args, **options)

    return asked


for _name in ASKED:
    setattr(WaitingLedger, _name, _noting(_name))


@pytest.fixture
async def waiting_ledger():
    """A ledger that blocks; the test fails if that stops its event loop."""
    ledger = WaitingLedger(asyncio.get_running_loop())
    yield ledger
    assert ledger.stopped == []
    assert "open" in ledger.asked


class Got(NamedTuple):
    """What a receiver got."""

    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """Receives webhooks and batches: answers with `answers` in turn, then 204; None hangs.

    An answer is a status, or one with headers.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.answers, self.got = [], queue.Queue()
        self.over, self.hung = threading.Event(), threading.Semaphore(0)

    def next(self):
        return self.got.get(timeout=20)

    def all(self):
        return [self.got.get_nowait() for _ in range(self.got.qsize())]

    def handle_error(self, request, client_address):
        """A client that went away is what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        self.server.got.put(Got(self.path, dict(self.headers), body))
        if answer is None:
            self.server.hung.release()
            self.server.over.wait(20)
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for header in {"Location": "/elsewhere", **headers}.items():
            self.send_header(*header)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


class Collector:
    """A collector on loopback, with a ledger in memory and a log of what it accepted."""

    def __init__(self, folder, keys=()):
        self.ledger = MemoryLedger()
        self._log = JsonLines(folder / "collected.jsonl", interval=0)
        from budget_cli.collector import build_app

        self._runner = Runner(build_app(self.ledger, keys=keys, log=self._log))
        self._runner.start()
        self.url = f"http://127.0.0.1:{self._runner.port}"

    @property
    def events(self):
        self._log.flush()
        lines = self._log.path.read_text().splitlines() if self._log.path.exists() else ()
        return [json.loads(line) for line in lines]

    def spent(self, account):
        return self.ledger.balance(account).spent

    def stop(self):
        self._runner.stop()
        self._log.close()


@pytest.fixture
def collector(tmp_path, monkeypatch):
    """A collector where clients look for one by default; it knows one key."""
    running = Collector(tmp_path, keys=("key",))
    monkeypatch.setenv("BUDGET_COLLECTOR", running.url)
    yield running
    running.stop()


def pytest_generate_tests(metafunc):
    """Try every function of ours that a test's module has `ON_THE_WAY` (see `breaking`)."""
    if "place" in metafunc.fixturenames and (way := getattr(metafunc.module, "ON_THE_WAY", ())):
        places = [place for module in way for place in _places_in(module)]
        metafunc.parametrize("place", places, ids=map(_name_of, places))


_ENDINGS = frozenset(
    {"_drop", "_paying", "_send", "end", "ending", "failed", "finish", "returned", "unsent"}
)
"""What ends a call or a block: whatever else fails is made good by these."""


def _places_in(module):
    """Return where a module keeps functions of ours, which it defines or uses: (where, name)."""
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            kept = ((each, getattr(one, "fget", one)) for each, one in vars(value).items())
            methods = {each for each, one in kept if isinstance(one, FunctionType | classmethod)}
            names = sorted(methods - _ENDINGS)
            yield from ((value, each) for each in names if not each.endswith("__"))
        ours = isinstance(value, FunctionType) and value.__module__.startswith("budget_")
        if ours and name not in _ENDINGS:
            yield module, name


def _name_of(place):
    where, name = place
    home = where.__qualname__ if inspect.isclass(where) else where.__name__.rpartition(".")[-1]
    return f"{home}.{name}"


@pytest.fixture
def breaking(monkeypatch, provider):
    """Let functions between a framework and the wire fail, and see that nothing is lost by it.

    Whatever fails: what reaches the provider is held, it costs no more than is recorded, and
    nothing stays held when the run is over.
    """

    class Breaking:
        def __call__(self, where, name):
            """Let one raise; return the names of those that were asked."""

            def broken(*_, **__):
                asked.append(name)
                raise ZeroDivisionError(name)

            asked = []
            kind = type(vars(where).get(name))
            wrap = kind if kind in (property, classmethod) else lambda function: function
            monkeypatch.setattr(where, name, wrap(broken))
            return asked

        def check(self, session):
            provider.wait_idle()
            assert provider.bill_nanos <= session.spent_nanos
            assert (provider.requests == 0) == (session.spent_nanos == 0)
            assert session.reserved == 0
            assert session.ledger.verify() == []

    return Breaking()
