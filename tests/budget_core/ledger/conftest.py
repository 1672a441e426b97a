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


def sqlite():
    return SqliteLedger(Scratch.file())


BACKENDS = {"memory": MemoryLedger, "sqlite": sqlite}
DURABLE = {"sqlite": sqlite}


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
