import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from budget_core.ledger import MemoryLedger
from budget_core.ledger.sqlite import SqliteLedger

_numbers = itertools.count()


def _memory():
    """A file system in memory, if there is one: what is tested here is not the disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


class Scratch:
    """A folder for the ledgers of one session of tests."""

    path: Path | None = None

    @classmethod
    def file(cls):
        if cls.path is None:
            cls.path = Path(tempfile.mkdtemp(prefix="ledgers-", dir=_memory()))
        return cls.path / f"{next(_numbers)}.db"


@pytest.fixture(scope="session", autouse=True)
def _scratch():
    yield
    if Scratch.path is not None:
        shutil.rmtree(Scratch.path)


def sqlite_store():
    """Return what opens one and the same file, each time as another process would."""
    path = Scratch.file()
    return lambda **options: SqliteLedger(path, **options)


STORES = {"sqlite": sqlite_store}
BACKENDS = {"memory": MemoryLedger} | {
    name: lambda store=store: store()() for name, store in STORES.items()
}


@pytest.fixture(params=sorted(BACKENDS))
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
