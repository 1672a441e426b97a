import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

from budget_core.ledger import MemoryLedger
from budget_core.ledger.redis import RedisLedger
from budget_core.ledger.sqlite import SqliteLedger

_numbers = itertools.count()


def _memory():
    """A file system in memory, if there is one: what is tested here is not the disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


class Scratch:
    """A folder for the ledgers of one session of tests."""

    path: Path | None = None

    @classmethod
    def folder(cls):
        if cls.path is None:
            cls.path = Path(tempfile.mkdtemp(prefix="ledgers-", dir=_memory()))
        return cls.path

    @classmethod
    def file(cls):
        return cls.folder() / f"{next(_numbers)}.db"


def _free_port():
    """A port that is free; the nodes of a cluster talk at one that is 10,000 higher."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if port <= 55_535:
            return port


class RedisServer:
    """A real server of our own; it can be killed, and started again with what it has kept."""

    def __init__(self, folder, *options):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.options = options or ("--save", "")
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self.folder), "--logfile", "server.log", *self.options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command)  # noqa: S603
        client = redis.Redis(port=self.port)
        until = time.monotonic() + 20
        while True:
            try:
                client.ping()
                client.close()
            except redis.RedisError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.01)
            else:
                return

    def kill(self):
        self.process.kill()
        self.process.wait()


class Servers:
    shared: RedisServer | None = None

    @classmethod
    def one(cls):
        if cls.shared is None:
            if shutil.which("redis-server") is None:
                pytest.skip("redis-server is not installed")
            cls.shared = RedisServer(Scratch.folder() / "redis")
        return cls.shared


@pytest.fixture(scope="session", autouse=True)
def _scratch():
    yield
    if Servers.shared is not None:
        Servers.shared.kill()
    if Scratch.path is not None:
        shutil.rmtree(Scratch.path)


@pytest.fixture
def redis_server():
    return Servers.one()


@pytest.fixture
def make_redis_server():
    """What starts a server of a test's own."""
    started = []

    def start(*options):
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        started.append(RedisServer(Scratch.folder() / f"redis{next(_numbers)}", *options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


def sqlite_store():
    """Return what opens one and the same file, each time as another process would."""
    path = Scratch.file()
    return lambda **options: SqliteLedger(path, **options)


def redis_store():
    """Return what opens one and the same namespace, each time as another process would."""
    namespace = f"test{next(_numbers)}"
    url = Servers.one().url
    return lambda **options: RedisLedger(url, namespace=namespace, **options)


STORES = {"redis": redis_store, "sqlite": sqlite_store}
BACKENDS = {"memory": MemoryLedger} | {
    name: lambda store=store: store()() for name, store in STORES.items()
}


@pytest.fixture(
    params=[
        "memory",  # traced on one ledger only: others have tests of their own, and time is short
        *[pytest.param(name, marks=pytest.mark.no_cover) for name in sorted(STORES)],
    ]
)
def backend(request):
    """What makes a new, empty ledger."""
    return BACKENDS[request.param]


@pytest.fixture
def ledger(backend):
    made = backend()
    yield made
    if hasattr(made, "close_connection"):
        made.close_connection()


@pytest.fixture(params=sorted(STORES))
def store(request):
    """What opens one and the same store, each time as another process would."""
    opened = []
    make = STORES[request.param]()

    def opening(**options):
        opened.append(make(**options))
        return opened[-1]

    yield opening
    for ledger in opened:
        ledger.close_connection()
