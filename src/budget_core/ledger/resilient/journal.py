"""What a ledger that does not answer is owed, written down until it does."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from uuid import uuid4
from weakref import WeakSet

from budget_core.money.amounts import Amounts
from budget_core.runtime.forks import in_child
from budget_core.runtime.state_dir import state_dir

try:
    import fcntl
except ImportError:  # pragma: no cover  there, a journal is read by its own process only
    fcntl = None  # type: ignore[assignment]

What: TypeAlias = Literal["commit", "release", "charge", "close"]
_log = logging.getLogger("budget_core")


class Debt(NamedTuple):
    """An operation that the ledger has not heard of: its id makes it count once.

    That of a "close" is the account's.
    """

    what: What
    id: str
    accounts: tuple[str, ...]
    amounts: Amounts


class Journal:
    """Debts to one ledger, in a file a process. Made with the first debt, gone with the last.

    Files of processes that have died are taken over by the next that looks. What cannot be written
    is remembered all the same, as long as this process lives.

    Args:
        ledger: what names the ledger.
        folder: where files lie; by default ``$XDG_STATE_HOME/budget-suite``.
    """

    def __init__(self, ledger: str, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else state_dir()
        self._name = sha256(ledger.encode()).hexdigest()[:16]
        self._lock = Lock()
        self._file: int | None = None
        self._shelved = False
        self._path: Path | None = None
        self._debts: dict[tuple[What, str], Debt] = {}
        _journals.add(self)

    def __len__(self) -> int:
        return len(self._debts)

    def __iter__(self) -> Iterator[Debt]:
        return iter(list(self._debts.values()))

    def add(self, debt: Debt) -> None:
        with self._lock:
            self._debts[debt.what, debt.id] = debt
            try:
                self._write(debt)
                os.fsync(self._open_file())
            except OSError as error:
                _log.error("A debt is only in memory, as %s: %s", error, debt)

    def paid(self, debt: Debt) -> None:
        """Strike a debt out; the file goes with the last one."""
        with self._lock:
            self._debts.pop((debt.what, debt.id), None)
            if self._file is None or self._path is None:
                return
            if self._debts or self._shelved:
                try:
                    self._write(("paid", debt.what, debt.id))
                except OSError as error:
                    _log.warning("A debt that is paid could not be struck out: %s", error)
            else:
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
                debts, damaged = _read(file)
                for debt in debts:
                    self.add(debt)
                if damaged:
                    kept = path.rename(path.with_suffix(".damaged"))
                    _log.error("Not every line of a journal can be read; it is kept as %s", kept)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                _log.error("%s could not be taken over: %s", path, error)
            finally:
                os.close(file)

    def forked(self) -> None:
        self._lock = Lock()
        self._debts.clear()
        if self._file is not None:
            os.close(self._file)  # the lock is the parent's as long as that has it open
            self._file = self._path = None

    def _write(self, line: Any) -> None:
        # begins on a line of its own, also behind one that could not be finished
        data = f"\n{json.dumps(line)}\n".encode()
        if os.write(self._open_file(), data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open_file(self) -> int:
        if self._file is None:
            self._file, self._path = self._made()
        return self._file

    def _made(self) -> tuple[int, Path]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{self._name}-{uuid4().hex}.jsonl"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return file, path
            os.close(file)  # another was quicker to lock it, and took it for a dead one's


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
    if not os.fstat(file).st_nlink:  # another process has just taken it over
        os.close(file)
        return None
    return file


def _read(file: int) -> tuple[list[Debt], bool]:
    """Return the debts of a file that are not struck out, and whether it is damaged."""
    debts: dict[tuple[What, str], Debt] = {}
    damaged = False
    with open(file, encoding="utf-8", errors="replace", closefd=False) as text:
        for line in text:
            try:
                match json.loads(line) if line.strip() else None:
                    case None:
                        pass
                    case ["paid", what, str(key)]:
                        debts.pop((what, key), None)
                    case [what, str(key), accounts, amounts] if what in get_args(What):
                        debts[what, key] = Debt(what, key, tuple(accounts), Amounts(*amounts))
                    case _:
                        damaged = True
            except (ValueError, TypeError):
                # one without an end was being written when its process died: it was never told
                damaged = damaged or line.endswith("\n")
    return list(debts.values()), damaged


_journals: WeakSet[Journal] = WeakSet()


def _forked() -> None:
    for journal in _journals:
        journal.forked()


in_child(_forked)
