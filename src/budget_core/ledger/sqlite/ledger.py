"""The ledger in a SQLite file: one machine, many processes, and what was recorded stays."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from budget_core.errors import InvalidBudget
from budget_core.ledger.books import STANDING, BookLedger
from budget_core.ledger.clock import Clock
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.records import OnExpiry
from budget_core.ledger.sqlite.codec import amounts_of, names_from
from budget_core.ledger.sqlite.database import Database, Durability
from budget_core.ledger.sqlite.oplog import Oplog, Row
from budget_core.ledger.sqlite.store import Accounts, Entries, Holds
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO

Mode: TypeAlias = Literal["write", "append", "read"]
"""An operation that changes anything, that makes and ends holds only, or that only reads."""
KEPT_AFTER_DEATH: Final = 86_400.0
"""Seconds for which accounts that only a dead process could name are kept, for late commits."""

MOST_KNOWN: Final = 10_000
"""How many accounts to keep in memory."""
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
        clock: in place of the machine's.
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
        clock: Clock | None = None,
    ) -> None:
        if durability not in {"normal", "full"} or on_expiry not in {"charge", "release"}:
            raise InvalidBudget(
                'durability= is "normal" or "full", on_expiry= is "charge" or "release"; got '
                f"{durability!r} and {on_expiry!r}."
            )
        super().__init__(clock)
        self.options: Mapping[str, Any] = {}
        self.ttl = ttl
        self.database = Database(path, durability, timeout)
        self._on_expiry = on_expiry
        self._oplog = Oplog()
        self._nodes: Accounts = Accounts(self._oplog)
        self._live: Holds = Holds(self._oplog, self._nodes)
        self._records: Entries = Entries(self._oplog, self._nodes)
        self._lock = self.database.lock
        self._for_writing: AbstractContextManager[object] = _Operation(self, "write")
        self._for_appending: AbstractContextManager[object] = _Operation(self, "append")
        self._for_reading: AbstractContextManager[object] = _Operation(self, "read")
        self._outermost: FrameType | None = None
        self._dropped: list[str] = []
        self._moment = 0.0
        self._pid = 0
        self._owner = ""
        self._seen = self._swept = float("-inf")
        self._whole = self._gone = self._resting = False

    def beat(self) -> None:
        """Say that this process is alive, and let the holds of dead ones expire."""
        if self._pid == os.getpid() and not self._resting:
            self._seen = float("-inf")
            with self._lock, self._for_writing:
                self._gone = True

    def close_connection(self) -> None:
        """Close the file, and let the heartbeat rest, until the next operation."""
        with self.database.lock:
            self._resting = True
            self.database.close()

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self.database.path)!r})"

    # -- operations --------------------------------------------------------------------------

    def enter(self, mode: Mode, frame: FrameType) -> None:
        """Begin an operation in `frame`, with everything as the file has it; under the lock."""
        if self._nested(frame):
            if mode != "read":
                self._whole = self._oplog.writing = True
            return
        if self._outermost is not None:
            self._give_up(None)
        self._outermost = frame
        try:
            self._begin(mode)
        except Exception as error:
            self._give_up(error)
            raise self.database.unavailable(error) from error
        except BaseException:
            self._give_up(None)
            raise

    def leave(self, error: BaseException | None, frame: FrameType) -> None:
        """End an operation: all of it is in the file, or nothing."""
        if self._outermost is not frame:
            return
        if error is not None:
            self._give_up(error)
            if (told := self.database.unavailable(error)) is not error:
                raise told from error
            return
        try:
            self._write()
            self.database.end(self._oplog.connection)
            self._dropped.clear()
            self._outermost = None
        except Exception as failure:
            self._give_up(failure)
            raise self.database.unavailable(failure) from failure
        except BaseException:
            self._give_up(None)
            raise

    def _nested(self, frame: FrameType | None) -> bool:
        """Return whether this is a finalizer's or a signal's handler, inside an operation.

        An operation whose frame is gone did not end: an interrupt came as it was about to.
        """
        outermost = self._outermost
        while outermost is not None and frame is not None:
            if frame is outermost:
                return True
            frame = frame.f_back
        return False

    def _begin(self, mode: Mode) -> None:
        if self._resting or self._pid != os.getpid():
            self._reopen()
        self._moment = self.clock.now()
        database, oplog = self.database, self._oplog
        connection = database.connection() if mode == "read" else database.lock_for_writing()
        if connection is not oplog.connection:
            oplog.connection = connection
            self._stale()
        if mode == "read":
            connection.execute("BEGIN")
        due = mode != "read" and self._due()
        self._whole = mode == "write" or due
        if self._whole:
            database.begin(connection)
        oplog.writing = True
        self._catch_up()
        if due:
            self._live_on()
            oplog.write()
        oplog.writing = mode != "read"

    def _give_up(self, error: BaseException | None) -> None:
        """Take back what an operation has done, in the file and in memory.

        After an interrupt the connection is not used again: a statement may be half read.
        """
        self._stale()
        self._forgotten.extendleft(reversed(self._dropped))
        self._dropped.clear()
        if self._whole:
            self._seen = self._swept = float("-inf")  # the lease may be taken back, too
        if isinstance(error, Exception):
            self.database.give_up()
        else:
            self.database.close()
        self._outermost = None

    def _write(self) -> None:
        oplog = self._oplog
        if self._whole or (oplog.pending and oplog.many):
            self._write_all()
        elif oplog.pending:
            if len(oplog.pending) > 1:
                self.database.begin(oplog.connection)
            oplog.write()

    def _write_all(self) -> None:
        self.database.begin(self._oplog.connection)
        if self._nodes.flush() | self._live.flush() | self._oplog.any:
            self._oplog.checkpoint()
            self._records.stale()
        if self._gone:
            self._gone = False
            self._purge()
        if len(self._nodes.known) > MOST_KNOWN:
            self._stale()

    def _catch_up(self) -> None:
        rows = self._oplog.tail()
        if rows is None:
            self._stale()
            rows = self._oplog.tail()
        if rows:
            self._replay(rows)
            self._oplog.pending.clear()

    def _replay(self, rows: Sequence[Row]) -> None:
        begun: dict[str, Row] = {}  # most holds are ended by the time that they are heard of
        for row in rows:
            key, kind, final = row[1], row[2], row[9]
            if kind != "hold":
                self._records.in_oplog.add(key)
                self._replay_end(row, begun.pop(key, None))
            elif final is None and not self._nodes.route(names_from(row[4])).allocated:
                begun[key] = row
            else:
                self._replay_hold(row)
        for row in begun.values():
            self._replay_hold(row)

    def _replay_hold(self, row: Row) -> None:
        if (before := self._live.pop(row[1], None)) is not None:
            before.lift()
        self._live[row[1]] = live = self._live.from_row(row)
        live.place(force=True)

    def _replay_end(self, row: Row, begun: Row | None) -> None:
        kind, amounts = row[2], amounts_of(row[5:9])
        live = self._live.pop(row[1], None)
        if live is not None and begun is None:
            live.pay(kind, amounts)
            live.leave(kind)
            return
        if live is not None:  # it was made larger, and then ended
            live.lift()
        if kind != "release":
            route = self._nodes.route(names_from(row[4]))
            route.spend(amounts, route.moment(row[3]) if begun is None else begun[3])
            route.trim()

    def _stale(self) -> None:
        for each in (self._oplog, self._nodes, self._live, self._records):
            each.stale()

    def _reopen(self) -> None:
        self._resting = False
        self._stale()
        if self._pid != os.getpid():
            self._records.forked()
            self._seen = self._swept = float("-inf")
            self._owner = uuid4().hex[:16]
            self._pid = os.getpid()

    def _now(self) -> float:
        return self._moment

    # -- life and death of processes ---------------------------------------------------------

    def _live_on(self) -> None:
        now = self.clock.uptime()
        if now - self._seen > self.ttl / 3:
            self._oplog.execute(
                "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, 0)",
                (self._owner, now, self.ttl, self._on_expiry == "charge"),
            )
            self._seen = now
            keep_alive(self)
        if now - self._swept > min(self.ttl / 10, 1.0):
            self.database.check()
            self._swept = now
            self._sweep(now)

    def _due(self) -> bool:
        return bool(self._forgotten) or self.clock.uptime() - self._swept > min(self.ttl / 10, 1.0)

    def _reading(self) -> AbstractContextManager[object]:
        nested = self._nested(sys._getframe(1))  # noqa: SLF001
        return self._for_appending if not nested and self._due() else self._for_reading

    def _sweep(self, now: float) -> None:
        dead = self._oplog.execute(
            "SELECT owner, charge FROM lease WHERE NOT dead AND (seen + ttl < ? OR seen > ?)",
            (now, now),  # seen in the future: before the machine was started again
        ).fetchall()
        for owner, charge in dead:
            for key in self._live.of_owner(owner):
                live = self._live.pop(key)
                self._end("expire", live, live.hold.amounts if charge else ZERO)
            self._expire(owner)
            self._oplog.execute("UPDATE lease SET dead = 1, seen = ? WHERE owner = ?", (now, owner))
        old = self._oplog.execute(
            "SELECT owner FROM lease WHERE dead AND (seen < ? OR seen > ?)",
            (now - KEPT_AFTER_DEATH, now),
        ).fetchall()
        for (owner,) in old:
            for node in self._owned(owner):
                self._drop(node.id)
            self._oplog.execute("DELETE FROM lease WHERE owner = ?", (owner,))
        if dead:
            self._wake()

    def _expire(self, owner: str) -> None:
        """Give back what is set aside for accounts that only a dead process had open."""
        for node in self._owned(owner):
            if node.account.lasts == "run":
                node.rest()
                continue
            node.owners.discard(owner)
            if not node.owners:
                node.rest()

    def _owned(self, owner: str) -> list[Node]:
        names = self._oplog.execute(
            "SELECT id FROM account WHERE NOT gone AND owners LIKE ?", (f'%"{owner}"%',)
        ).fetchall()
        return [self._nodes[name] for (name,) in names]

    def _expiry(self, live: LiveHold) -> float | None:
        row = self._oplog.execute(
            "SELECT seen + ttl FROM lease WHERE owner = ?", (live.owner,)
        ).fetchone()
        return None if row is None else max(0.0, row[0] - self.clock.uptime())

    # -- what nobody can name any more -------------------------------------------------------

    def _drop(self, account: str) -> None:
        self._dropped.append(account)
        node = self._nodes.get(account)
        if node is not None and node.owners <= {self._owner, STANDING} | self._dead():
            node.end("closed")
            node.gone = self._gone = True

    def _dead(self) -> set[str]:
        return {owner for (owner,) in self._oplog.execute("SELECT owner FROM lease WHERE dead")}

    def _purge(self) -> None:
        """Delete forgotten accounts in which, and below which, nothing lives any more."""
        while True:
            rows = self._oplog.execute(FORGOTTEN).fetchall()
            for key, parent in rows:
                self._oplog.execute("DELETE FROM account WHERE id = ?", (key,))
                del self._nodes[key]
                if parent is None:
                    self._records.forget_root(key)
            if not rows:
                return

    def _route_of_record(self, accounts: Sequence[str]) -> Route:
        return self._nodes.route(accounts)


class _Operation(AbstractContextManager[None]):
    def __init__(self, ledger: SqliteLedger, mode: Mode) -> None:
        self._enter, self._leave, self._mode = ledger.enter, ledger.leave, mode

    def __enter__(self) -> None:
        self._enter(self._mode, sys._getframe(1))  # noqa: SLF001

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._leave(error, sys._getframe(1))  # noqa: SLF001
