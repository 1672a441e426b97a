"""The log of a SQLite file: what was held and recorded since its accounts were written.

A call costs one short row. The other processes replay it in memory. At a checkpoint (when there
are many rows, or something else is done) accounts and holds are written, entries move to their
table, and a mark takes the place of the rows, which tells the others to read all anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from budget_core.ledger.records import Entry
from budget_core.ledger.sqlite.codec import entry_columns, names, wide
from budget_core.ledger.tree.hold import LiveHold

Row: TypeAlias = tuple[Any, ...]
MOST: Final = 1_000
"""How many rows there may be before a checkpoint."""
_MARK: Final = "written"
_TAIL: Final = """
SELECT number, id, kind, time, accounts, usd, tokens, llm_calls, tool_calls, final, owner
FROM oplog WHERE number > ?"""
_INSERT: Final = "INSERT INTO oplog VALUES (" + "?, " * 18 + "?)"
_MOVE: Final = """
INSERT INTO entry SELECT number, id, kind, time, accounts, path, root, usd, tokens, llm_calls,
    tool_calls, held, after, late, over, asked, passing
FROM oplog WHERE kind NOT IN ('hold', 'written')"""


class Oplog:
    """The rows of the operation that is under way, and those of others since the last one.

    Attributes:
        connection: of the operation that is under way.
        writing: what it changes will be written.
        pending: its rows that are not written yet, without their numbers.
    """

    def __init__(self) -> None:
        self.connection: sqlite3.Connection = None  # type: ignore[assignment]
        self.writing = False
        self.pending: list[Row] = []
        self._last: int | None = None
        self._marked = 0

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self.connection.execute(statement, parameters)

    def execute_many(self, statement: str, rows: Sequence[Row]) -> None:
        """Run one statement for each of some rows; that is to be the same if it is done twice."""
        try:
            self.connection.executemany(statement, rows)
        except OverflowError:
            self.connection.executemany(statement, map(wide, rows))

    def stale(self) -> None:
        self._last = None
        self.pending.clear()

    def tail(self) -> list[Row] | None:
        """Return what others have done meanwhile; None if all is to be read anew.

        Each: number, id, kind ("hold", or that of the entry), time, accounts, an amount of each
        unit, final, owner.
        """
        last = self._last
        parameters = (-1 if last is None else last,)
        rows = self.connection.execute(_TAIL, parameters).fetchall()
        if rows:
            number, _, kind = rows[0][:3]
            if last is not None and kind == _MARK:
                return None
            self._last = rows[-1][0]
            if kind == _MARK:
                self._marked = number
                del rows[0]
        elif last is None:
            self._last = 0
        return rows

    def append_hold(self, live: LiveHold) -> None:
        hold, final = live.hold, live.final
        self.pending.append(
            (
                hold.id, "hold", live.at, names(hold.accounts), None, None, *hold.amounts,
                None, None, None, None, None, None, None if final is None else final.id, live.owner,
            )
        )  # fmt: skip

    def append_entry(self, entry: Entry, *, passing: bool) -> None:
        self.pending.append((*entry_columns(entry), passing, None, None))

    @property
    def any(self) -> bool:
        return bool(self.pending) or (self._last or 0) > self._marked

    @property
    def many(self) -> bool:
        return (self._last or 0) - self._marked >= MOST

    def write(self) -> None:
        """Write the rows of this operation. An error if another process wrote meanwhile."""
        for row in self.pending:
            number = (self._last or 0) + 1
            try:
                self.connection.execute(_INSERT, (number, *row))
            except OverflowError:
                self.connection.execute(_INSERT, wide((number, *row)))
            self._last = number
        self.pending.clear()

    def checkpoint(self) -> None:
        """Let entries move to their table, and a mark take the place of all rows."""
        self.write()
        self.connection.execute(_MOVE)
        self.connection.execute("DELETE FROM oplog")
        self.pending.append((None, _MARK, *(None,) * 16))
        self.write()
        self._marked = self._last or 0
