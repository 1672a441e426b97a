"""What a ledger that does not answer is owed, written down until it does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import uuid4

from budget_core.limits import Amounts

try:
    import fcntl
except ImportError:  # pragma: no cover  there, a journal is read by its own process only
    fcntl = None  # type: ignore[assignment]

What: TypeAlias = Literal["commit", "release", "charge"]


class Debt(NamedTuple):
    """An operation that the ledger has not heard of: its id makes it count once."""

    what: What
    id: str
    accounts: tuple[str, ...]
    amounts: Amounts


class Journal:
    """Debts to one ledger, in a file a process. Made with the first debt, gone with the last.

    Files of processes that have died are taken over by whoever looks next.

    Args:
        ledger: what names the ledger.
        folder: where files lie; by default ``$XDG_STATE_HOME/budget-suite``.
    """

    def __init__(self, ledger: str, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else _state_folder()
        self._name = sha256(ledger.encode()).hexdigest()[:16]
        self._lock = Lock()
        self._file: int | None = None
        self._shelved = False
        self._path: Path | None = None
        self._pid = os.getpid()
        self._debts: dict[tuple[What, str], Debt] = {}

    def __len__(self) -> int:
        return len(self._debts)

    def __iter__(self) -> Iterator[Debt]:
        """Return the debts of this process, oldest first."""
        return iter(list(self._debts.values()))

    def add(self, debt: Debt) -> None:
        """Write a debt down, on the disk."""
        with self._lock:
            self._forked()
            self._debts[debt.what, debt.id] = debt
            if self._file is None:
                self._file, self._path = self._made()
            os.write(self._file, (json.dumps(debt) + "\n").encode())
            os.fsync(self._file)

    def paid(self, debt: Debt) -> None:
        """Strike a debt out; the file goes with the last one."""
        with self._lock:
            self._forked()
            self._debts.pop((debt.what, debt.id), None)
            if (
                not self._debts
                and not self._shelved
                and self._file is not None
                and self._path is not None
            ):
                self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = self._path = None

    def shelve(self, debt: Debt) -> None:
        """Leave a debt that the ledger refuses in the file, for the next process or a person."""
        with self._lock:
            self._shelved = True
            self._debts.pop((debt.what, debt.id), None)

    def adopt(self) -> None:
        """Take over what processes that have died left here."""
        for path in sorted(self._folder.glob(f"{self._name}-*.jsonl")):
            if path == self._path or (file := _locked(path)) is None:
                continue
            try:
                for debt in _read(path):
                    self.add(debt)
                path.unlink(missing_ok=True)
            finally:
                os.close(file)

    def _made(self) -> tuple[int, Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}-{uuid4().hex}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        return file, path

    def _forked(self) -> None:
        """Leave the debts of a parent process to that."""
        if self._pid != os.getpid():
            self._pid, self._file, self._path = os.getpid(), None, None
            self._debts.clear()


def _locked(path: Path) -> int | None:
    """Open a file whose process is dead; None while it lives, as it holds a lock."""
    if fcntl is None:  # pragma: no cover
        return None
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _read(path: Path) -> Iterator[Debt]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            what, key, accounts, amounts = json.loads(line)
        except ValueError:  # the process died while it wrote: nobody was told that it is written
            continue
        yield Debt(what, key, tuple(accounts), Amounts(*amounts))


def _state_folder() -> Path:
    base: Any = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "budget-suite"


__all__ = ["Debt", "Journal"]
