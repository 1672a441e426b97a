"""The ledger in a SQLite file: one machine, many processes, and what was recorded stays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, Final
from uuid import uuid4

from budget_core.errors import InvalidBudget
from budget_core.ledger.base import OnExpiry
from budget_core.ledger.books import STANDING, BookLedger
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.sqlite_file import Database, Durability
from budget_core.ledger.sqlite_rows import Accounts, Entries, Holds, Rows
from budget_core.ledger.tree import LiveHold, Node, Route
from budget_core.limits import ZERO

KEPT_AFTER_DEATH: Final = 86_400.0
"""Seconds for which accounts that only a dead process could name are kept, for late commits."""

FORGOTTEN: Final = """
SELECT id, parent FROM account WHERE gone
    AND NOT EXISTS (SELECT 1 FROM account AS child WHERE child.parent = account.id)
    AND NOT EXISTS (
        SELECT 1 FROM hold, json_each(hold.path) AS each WHERE each.value = account.id
    )"""
"""Accounts that are forgotten, and in and below which nothing lives."""


class SqliteLedger(BookLedger):
    """Keeps everything in a file, shared by the processes of one machine.

    Safe under threads, forks and ``kill -9``. What cannot be read or written is LedgerUnavailable,
    and nothing of that operation is recorded.

    Args:
        path: of the file; made if it does not exist. Not on a network file system.
        durability: "normal" survives the death of processes, "full" also a loss of power.
        ttl: seconds after which the holds of a process that is not heard of any more expire.
        on_expiry: "charge" what was held by a killed call, as its provider may have billed it, or
            "release" it.
        timeout: seconds to wait for other processes' writes.
    """

    blocks: bool = True
    outlives: bool = True
    poll: float = 0.1

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        ttl: float = 60.0,
        on_expiry: OnExpiry = "charge",
        timeout: float = 10.0,
    ) -> None:
        if durability not in {"normal", "full"} or on_expiry not in {"charge", "release"}:
            raise InvalidBudget(
                'durability= is "normal" or "full", on_expiry= is "charge" or "release"; got '
                f"{durability!r} and {on_expiry!r}."
            )
        super().__init__()
        self.options: Mapping[str, Any] = {}
        self.ttl = ttl
        self.database = Database(path, durability, timeout)
        self._on_expiry = on_expiry
        self._rows = Rows()
        self._nodes: Accounts = Accounts(self._rows)
        self._live: Holds = Holds(self._rows, self._nodes)
        self._records: Entries = Entries(self._rows, self._nodes)
        self._turn: AbstractContextManager[object] = _Turn(self)
        self._look: AbstractContextManager[object] = _Look(self)
        self._depth = 0
        self._version = -1
        self._pid = 0
        self._owner = ""
        self._seen = self._reaped = float("-inf")
        self._gone = self._resting = False

    def beat(self) -> None:
        """Say that this process is alive, and let the holds of dead ones expire."""
        if self._pid == os.getpid() and not self._resting:
            self._seen = float("-inf")
            with self._turn:
                self._gone = True

    def close_connection(self) -> None:
        """Close the file, and let the heartbeat rest, until the next operation."""
        with self.database.lock:
            self._resting = True
            self.database.close()

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self.database.path)!r})"

    # -- for the turns -----------------------------------------------------------------------

    def enter(self, *, write: bool) -> None:
        """Begin an operation, with everything as the file has it."""
        self.database.lock.acquire()
        self._depth += 1
        if self._depth > 1:  # a finalizer that reads, in the middle of an operation
            return
        try:
            self._begin(write=write)
        except BaseException:
            self._depth -= 1
            self.database.lock.release()
            raise

    def leave(self, error: BaseException | None, *, write: bool) -> None:
        """End an operation: all of it is in the file, or nothing."""
        try:
            if self._depth == 1:
                self._finish(error, write=write)
        finally:
            self._depth -= 1
            self.database.lock.release()
        if error is not None and (told := self.database.unavailable(error)) is not error:
            raise told from error

    def _begin(self, *, write: bool) -> None:
        self._resting = False
        if self._pid != os.getpid():
            self._pid, self._owner = os.getpid(), uuid4().hex[:16]
            self._seen = self._reaped = float("-inf")
        connection = self.database.begin() if write else self.database.connection()
        if connection is not self._rows.connection:
            self._rows.connection, self._version = connection, -1
        if not write:
            self._guarded("BEGIN")
        try:
            version = self._rows.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = version
                self._nodes.stale()
            if write:
                self._live_on()
        except BaseException as error:
            self._finish(error, write=write)
            raise self.database.unavailable(error) from error

    def _finish(self, error: BaseException | None, *, write: bool) -> None:
        if not write:
            self._nodes.untouch()
            self._guarded("COMMIT" if error is None else "ROLLBACK")
            return
        try:
            if error is None:
                self._flush()
        except BaseException as failure:
            self._nodes.stale()
            self.database.end(commit=False)
            raise self.database.unavailable(failure) from failure
        if error is not None:
            self._nodes.stale()
            self._seen = float("-inf")  # the lease may be taken back, too
        try:
            self.database.end(commit=error is None)
        except BaseException:
            self._nodes.stale()
            raise

    def _flush(self) -> None:
        self._nodes.flush()
        if self._gone:
            self._gone = False
            self._purge()

    def _guarded(self, statement: str) -> None:
        try:
            self._rows.execute(statement)
        except Exception as error:
            raise self.database.unavailable(error) from error

    # -- life and death of processes ---------------------------------------------------------

    def _live_on(self) -> None:
        now = self._clock()
        if now - self._seen > self.ttl / 3:
            self._rows.execute(
                "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, 0)",
                (self._owner, now, self.ttl, self._on_expiry == "charge"),
            )
            self._seen = now
            keep_alive(self)
        if now - self._reaped > min(self.ttl / 10, 1.0):
            self.database.check()
            self._reaped = now
            self._reap(now)

    def _clock(self) -> float:
        """Return the machine's uptime: the same in all its processes, and nobody sets it."""
        return monotonic() + self._shift

    def _due(self) -> bool:
        return bool(self._forgotten) or self._clock() - self._reaped > min(self.ttl / 10, 1.0)

    def _reading(self) -> AbstractContextManager[object]:
        return self._turn if self._depth == 0 and self._due() else self._look

    def _reap(self, now: float) -> None:
        dead = self._rows.execute(
            "SELECT owner, charge FROM lease WHERE NOT dead AND (seen + ttl < ? OR seen > ?)",
            (now, now),  # seen in the future: before the machine was started again
        ).fetchall()
        for owner, charge in dead:
            for key in self._live.of_owner(owner):
                live = self._live.pop(key)
                self._end("expire", live, live.hold.amounts if charge else ZERO)
            self._bury(owner)
            self._rows.execute("UPDATE lease SET dead = 1, seen = ? WHERE owner = ?", (now, owner))
        old = self._rows.execute(
            "SELECT owner FROM lease WHERE dead AND (seen < ? OR seen > ?)",
            (now - KEPT_AFTER_DEATH, now),
        ).fetchall()
        for (owner,) in old:
            for node in self._owned(owner):
                self._drop(node.id)
            self._rows.execute("DELETE FROM lease WHERE owner = ?", (owner,))
        if dead:
            self._wake()

    def _bury(self, owner: str) -> None:
        """Give back what is set aside for accounts that only a dead process had open."""
        for node in self._owned(owner):
            if node.account.lasts == "run":
                node.rest()
                continue
            node.owners.discard(owner)
            if not node.owners:
                node.rest()

    def _owned(self, owner: str) -> list[Node]:
        names = self._rows.execute(
            "SELECT id FROM account WHERE NOT gone AND owners LIKE ?", (f'%"{owner}"%',)
        ).fetchall()
        return [self._nodes[name] for (name,) in names]

    def _expiry(self, live: LiveHold) -> float | None:
        row = self._rows.execute(
            "SELECT seen + ttl FROM lease WHERE owner = ?", (live.owner,)
        ).fetchone()
        return None if row is None else max(0.0, row[0] - self._clock())

    # -- what nobody can name any more -------------------------------------------------------

    def _drop(self, account: str) -> None:
        node = self._nodes.get(account)
        if node is not None and node.owners <= {self._owner, STANDING} | self._dead():
            node.end("closed")
            node.gone = self._gone = True
            self._nodes.flush()

    def _dead(self) -> set[str]:
        return {owner for (owner,) in self._rows.execute("SELECT owner FROM lease WHERE dead")}

    def _purge(self) -> None:
        """Delete forgotten accounts in which, and below which, nothing lives any more."""
        while True:
            rows = self._rows.execute(FORGOTTEN).fetchall()
            for key, parent in rows:
                self._rows.execute("DELETE FROM account WHERE id = ?", (key,))
                del self._nodes[key]
                if parent is None:
                    self._records.forget_root(key)
            if not rows:
                return

    def _route_of_record(self, accounts: Any) -> Route:
        node = self._nodes.even_gone
        if len(accounts) == 1:
            return node(accounts[0]).route
        return Route.union([node(account).route for account in sorted(accounts)])


class _Turn(AbstractContextManager[None]):
    """An operation that may write."""

    write: ClassVar[bool] = True

    def __init__(self, ledger: SqliteLedger) -> None:
        self._enter, self._leave = ledger.enter, ledger.leave

    def __enter__(self) -> None:
        self._enter(write=self.write)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error, write=self.write)


class _Look(_Turn):
    """An operation that only reads."""

    write: ClassVar[bool] = False


__all__ = ["SqliteLedger"]
