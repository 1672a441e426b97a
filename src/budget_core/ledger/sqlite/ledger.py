"""The ledger in a SQLite file: one machine, many processes, and what was recorded stays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from time import monotonic, time
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from budget_core.errors import InvalidBudget
from budget_core.ledger.books import STANDING, BookLedger
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.records import OnExpiry
from budget_core.ledger.sqlite.codec import names_from
from budget_core.ledger.sqlite.database import Database, Durability
from budget_core.ledger.sqlite.oplog import Row, Steps
from budget_core.ledger.sqlite.store import Accounts, Entries, Holds
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO, Amounts

Mode: TypeAlias = Literal["turn", "step", "look"]
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
        self._steps = Steps()
        self._nodes: Accounts = Accounts(self._steps)
        self._live: Holds = Holds(self._steps, self._nodes)
        self._records: Entries = Entries(self._steps, self._nodes)
        self._turn: AbstractContextManager[object] = _Operation(self, "turn")
        self._step: AbstractContextManager[object] = _Operation(self, "step")
        self._look: AbstractContextManager[object] = _Operation(self, "look")
        self._depth = 0
        self._moment = 0.0
        self._pid = 0
        self._owner = ""
        self._seen = self._reaped = float("-inf")
        self._whole = self._gone = self._resting = False

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

    # -- operations --------------------------------------------------------------------------

    def enter(self, mode: Mode) -> None:
        """Begin an operation, with everything as the file has it."""
        self.database.lock.acquire()
        self._depth += 1
        if self._depth > 1:  # a finalizer or a signal's handler, in the middle of an operation
            if mode != "look":
                self._whole = self._steps.writing = True
            return
        try:
            self._begin(mode)
        except BaseException as error:
            self._depth -= 1
            self.database.lock.release()
            raise self.database.unavailable(error) from error

    def leave(self, error: BaseException | None) -> None:
        """End an operation: all of it is in the file, or nothing."""
        try:
            if self._depth == 1:
                self._finish(error)
        finally:
            self._depth -= 1
            self.database.lock.release()
        if error is not None and (told := self.database.unavailable(error)) is not error:
            raise told from error

    def _begin(self, mode: Mode) -> None:
        if self._resting or self._pid != os.getpid():
            self._revive()
        self._moment = time() + self._shift
        database, steps = self.database, self._steps
        connection = database.connection() if mode == "look" else database.take_turn()
        if connection is not steps.connection:
            steps.connection = connection
            self._stale()
        try:
            if mode == "look":
                connection.execute("BEGIN")
            due = mode != "look" and self._due()
            self._whole = mode == "turn" or due
            if self._whole:
                database.begin(connection)
            steps.writing = True
            self._catch_up()
            if due:
                self._live_on()
                steps.write()
            steps.writing = mode != "look"
        except BaseException:
            self._fail()
            raise

    def _finish(self, error: BaseException | None) -> None:
        try:
            if error is None:
                self._write()
                self.database.end(self._steps.connection, commit=True)
            else:
                self._fail()
        except BaseException as failure:
            self._fail()
            raise self.database.unavailable(failure) from failure

    def _fail(self) -> None:
        """Take back what an operation has done, in the file and in memory."""
        self._stale()
        if self._whole:
            self._seen = self._reaped = float("-inf")  # the lease may be taken back, too
        self.database.end(self._steps.connection, commit=False)

    def _write(self) -> None:
        steps = self._steps
        if self._whole or (steps.pending and steps.many):
            self._write_all()
        elif steps.pending:
            if len(steps.pending) > 1:
                self.database.begin(steps.connection)
            steps.write()

    def _write_all(self) -> None:
        self.database.begin(self._steps.connection)
        if self._nodes.flush() | self._live.flush() | self._steps.any:
            self._steps.settle()
            self._records.stale()
        if self._gone:
            self._gone = False
            self._purge()
        if len(self._nodes.known) > MOST_KNOWN:
            self._stale()

    def _catch_up(self) -> None:
        """Repeat what others have done since our last operation."""
        steps = self._steps.news()
        if steps is None:
            self._stale()
            steps = self._steps.news()
        if steps:
            self._repeat(steps)
            self._steps.pending.clear()

    def _repeat(self, steps: Sequence[Row]) -> None:
        begun: dict[str, Row] = {}  # most holds are ended by the time that they are heard of
        for step in steps:
            key, kind, final = step[1], step[2], step[9]
            if kind != "hold":
                self._records.steps.add(key)
                self._repeat_end(step, begun.pop(key, None))
            elif final is None and not self._nodes.route(names_from(step[4])).allocated:
                begun[key] = step
            else:
                self._repeat_hold(step)
        for step in begun.values():
            self._repeat_hold(step)

    def _repeat_hold(self, step: Row) -> None:
        if (before := self._live.pop(step[1], None)) is not None:
            before.lift()
        self._live[step[1]] = live = self._live.from_step(step)
        live.place(force=True)

    def _repeat_end(self, step: Row, begun: Row | None) -> None:
        kind, amounts = step[2], Amounts(*step[5:9])
        live = self._live.pop(step[1], None)
        if live is not None and begun is None:
            live.pay(kind, amounts)
            live.leave(kind)
            return
        if live is not None:  # it was made larger, and then ended
            live.lift()
        if kind != "release":
            route = self._nodes.route(names_from(step[4]))
            route.spend(amounts, route.moment(step[3]) if begun is None else begun[3])
            route.trim()

    def _stale(self) -> None:
        for each in (self._steps, self._nodes, self._live, self._records):
            each.stale()

    def _revive(self) -> None:
        """Begin anew after a rest, or in a fork."""
        self._resting = False
        self._stale()
        if self._pid != os.getpid():
            self._pid, self._owner = os.getpid(), uuid4().hex[:16]
            self._records.forked()
            self._seen = self._reaped = float("-inf")

    def _now(self) -> float:
        return self._moment

    # -- life and death of processes ---------------------------------------------------------

    def _live_on(self) -> None:
        now = self._clock()
        if now - self._seen > self.ttl / 3:
            self._steps.execute(
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
        return self._step if self._depth == 0 and self._due() else self._look

    def _reap(self, now: float) -> None:
        dead = self._steps.execute(
            "SELECT owner, charge FROM lease WHERE NOT dead AND (seen + ttl < ? OR seen > ?)",
            (now, now),  # seen in the future: before the machine was started again
        ).fetchall()
        for owner, charge in dead:
            for key in self._live.of_owner(owner):
                live = self._live.pop(key)
                self._end("expire", live, live.hold.amounts if charge else ZERO)
            self._bury(owner)
            self._steps.execute("UPDATE lease SET dead = 1, seen = ? WHERE owner = ?", (now, owner))
        old = self._steps.execute(
            "SELECT owner FROM lease WHERE dead AND (seen < ? OR seen > ?)",
            (now - KEPT_AFTER_DEATH, now),
        ).fetchall()
        for (owner,) in old:
            for node in self._owned(owner):
                self._drop(node.id)
            self._steps.execute("DELETE FROM lease WHERE owner = ?", (owner,))
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
        names = self._steps.execute(
            "SELECT id FROM account WHERE NOT gone AND owners LIKE ?", (f'%"{owner}"%',)
        ).fetchall()
        return [self._nodes[name] for (name,) in names]

    def _expiry(self, live: LiveHold) -> float | None:
        row = self._steps.execute(
            "SELECT seen + ttl FROM lease WHERE owner = ?", (live.owner,)
        ).fetchone()
        return None if row is None else max(0.0, row[0] - self._clock())

    # -- what nobody can name any more -------------------------------------------------------

    def _drop(self, account: str) -> None:
        node = self._nodes.get(account)
        if node is not None and node.owners <= {self._owner, STANDING} | self._dead():
            node.end("closed")
            node.gone = self._gone = True

    def _dead(self) -> set[str]:
        return {owner for (owner,) in self._steps.execute("SELECT owner FROM lease WHERE dead")}

    def _purge(self) -> None:
        """Delete forgotten accounts in which, and below which, nothing lives any more."""
        while True:
            rows = self._steps.execute(FORGOTTEN).fetchall()
            for key, parent in rows:
                self._steps.execute("DELETE FROM account WHERE id = ?", (key,))
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
        self._enter(self._mode)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)


__all__ = ["SqliteLedger"]
