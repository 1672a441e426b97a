"""A SQLite file that many processes write: connection, schema, and the write lock."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakSet

from budget_core.errors import LedgerUnavailable
from budget_core.ledger.sqlite.write_lock import WriteLock, fcntl

Durability: TypeAlias = Literal["normal", "full"]

VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE account (
    id TEXT PRIMARY KEY, parent TEXT, opened TEXT NOT NULL, limits TEXT NOT NULL,
    spent_usd INTEGER NOT NULL, spent_tokens INTEGER NOT NULL,
    spent_llm_calls INTEGER NOT NULL, spent_tool_calls INTEGER NOT NULL,
    held_usd INTEGER NOT NULL, held_tokens INTEGER NOT NULL,
    held_llm_calls INTEGER NOT NULL, held_tool_calls INTEGER NOT NULL,
    state TEXT NOT NULL, final TEXT, gone INTEGER NOT NULL, kept TEXT NOT NULL,
    aside TEXT NOT NULL, excess TEXT NOT NULL, owners TEXT NOT NULL, windows TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX account_parent ON account (parent);
CREATE INDEX account_gone ON account (id) WHERE gone;
CREATE TABLE hold (
    id TEXT PRIMARY KEY, accounts TEXT NOT NULL, path TEXT NOT NULL,
    usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    llm_calls INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
    final TEXT, above TEXT, at REAL NOT NULL, owner TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE entry (
    number INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, time REAL NOT NULL,
    accounts TEXT NOT NULL, path TEXT NOT NULL, root TEXT NOT NULL,
    usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    llm_calls INTEGER NOT NULL, tool_calls INTEGER NOT NULL,
    held TEXT NOT NULL, after TEXT NOT NULL, late INTEGER NOT NULL, over TEXT, asked TEXT,
    passing INTEGER NOT NULL, PRIMARY KEY (id, number)
) WITHOUT ROWID;
CREATE INDEX entry_root ON entry (root) WHERE passing;
CREATE TABLE oplog (
    number INTEGER PRIMARY KEY, id TEXT, kind TEXT NOT NULL, time REAL,
    accounts TEXT, path TEXT, root TEXT,
    usd INTEGER, tokens INTEGER, llm_calls INTEGER, tool_calls INTEGER,
    held TEXT, after TEXT, late INTEGER, over TEXT, asked TEXT,
    passing INTEGER, final TEXT, owner TEXT
);
CREATE TABLE lease (
    owner TEXT PRIMARY KEY, seen REAL NOT NULL, ttl REAL NOT NULL, charge INTEGER NOT NULL,
    dead INTEGER NOT NULL
) WITHOUT ROWID;
"""
_BY_NUMBER: Final = "CREATE INDEX entry_number ON entry (number);"
MIGRATIONS: Final[dict[int, str]] = {0: _SCHEMA, 1: _BY_NUMBER}
"""What leads from each version of the schema to the next."""


class Database:
    """One connection a process, made when it is first needed; closed by a fork, on both sides.

    Attributes:
        path: of the file; beside it lie SQLite's own, and ``-lock``.
        lock: one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str], durability: Durability, wait: float) -> None:
        self.lock = RLock()
        self._durability = durability
        self._wait = wait
        self._connection: sqlite3.Connection | None = None
        self._write_lock: WriteLock | None = None
        self._opened_as: tuple[int, int] | None = None
        self._pid = os.getpid()
        self.path = Path(os.path.realpath(path))  # wherever the process goes later
        _databases.add(self)

    def connection(self) -> sqlite3.Connection:
        """Return this process's connection.

        Raises:
            LedgerUnavailable: the file cannot be opened, or is of a newer version.
        """
        if self._pid != os.getpid():
            # closing it is the parent's business
            _inherited.append((self._connection, self._write_lock))
            self._connection = self._write_lock = None
            self._pid = os.getpid()
        if self._connection is not None and self._opened_as is None:
            self.close()
        if self._connection is None:
            self._connection = self._opened()
            self._opened_as = self._identity()
        return self._connection

    def check(self) -> None:
        """See to it that what is written is in the file of that name.

        Raises:
            LedgerUnavailable: it was moved, replaced or deleted; the next operation opens it anew.
        """
        if self._identity() != self._opened_as:
            self._opened_as = None
            raise LedgerUnavailable(f"{self.path} was moved, replaced or deleted while in use")

    def lock_for_writing(self) -> sqlite3.Connection:
        """Wait for the write lock of all processes: no other one writes until `end`.

        Raises:
            LedgerUnavailable: another process held it for too long.
        """
        connection = self.connection()
        if self._write_lock is None:
            self.begin(connection)
        else:
            self._write_lock.acquire()
        return connection

    def begin(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction that writes, if there is none yet, under the write lock.

        Raises:
            LedgerUnavailable: nothing can be written.
        """
        if not connection.in_transaction:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise self.unavailable(error) from error

    def end(self, connection: sqlite3.Connection) -> None:
        """Commit a transaction, if there is one, and release the write lock.

        Raises:
            LedgerUnavailable: it could not be written, and nothing of it is once it was given up.
        """
        if connection.in_transaction:
            connection.execute("COMMIT")
        if self._write_lock is not None:
            self._write_lock.release()

    def give_up(self) -> None:
        """Take back what a transaction wrote, if there is one; release the write lock."""
        connection = self._connection
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        finally:
            if self._write_lock is not None:
                self._write_lock.release()

    def unavailable(self, error: BaseException) -> BaseException:
        if isinstance(error, UnicodeEncodeError):
            return KeyError(error.object)  # no account has such a name
        if not isinstance(error, sqlite3.Error | OSError):
            return error
        reason = f"{self.path}: {getattr(error, 'strerror', None) or error}"
        return LedgerUnavailable(reason)

    def close(self) -> None:
        """Close this process's connection; the next operation opens another one."""
        with self.lock:
            connection, lock = self._connection, self._write_lock
            self._connection = self._write_lock = None
            if connection is not None and self._pid == os.getpid():
                connection.close()
                if lock is not None:
                    lock.close()
            elif lock is not None:
                _inherited.append((connection, lock))

    def __del__(self) -> None:
        self.close()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _opened(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=self._wait,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            if fcntl is not None:
                self._write_lock = WriteLock(self.path, self._wait)
            self._prepare(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if self._write_lock is not None:
                self._write_lock.close()
                self._write_lock = None
            raise self.unavailable(error) from error
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._write_lock is not None:
            self._write_lock.acquire()  # only one turns a new file into WAL mode
        try:
            connection.execute("PRAGMA page_size = 2048")  # a log of smaller pages
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._durability.upper()}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            self._migrate(connection)
        finally:
            if self._write_lock is not None:
                self._write_lock.release()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise LedgerUnavailable(
                f"{self.path} is of version {version}, newer than this budget-suite knows "
                f"({VERSION}); upgrade it"
            )
        while version < VERSION:
            script = MIGRATIONS[version]
            version += 1
            connection.executescript(
                f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {version};COMMIT;"
            )


_inherited: list[Any] = []
"""Connections of parents whose fork Python was not told of: never used, and never closed."""
_databases: WeakSet[Database] = WeakSet()
_forking: list[Database] = []


def _before_fork() -> None:
    """Let no thread be inside SQLite, and leave nothing open that a child would inherit.

    In a child that has inherited a connection, SQLite takes the parent's locks for its own. Then
    the log is deleted under it when the parent closes the file, and what it records is lost.
    """
    _forking[:] = list(_databases)
    for database in _forking:
        database.lock.acquire()
        with suppress(sqlite3.Error):
            database.close()


def _after_fork() -> None:
    while _forking:
        _forking.pop().lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
