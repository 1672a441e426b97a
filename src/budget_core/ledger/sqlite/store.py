"""Accounts, holds and records of a SQLite file as the books see them.

What is here in memory is true: whatever others did is replayed first (`oplog`). What has
changed is written by `flush`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final

from budget_core.ledger.ids import number_of
from budget_core.ledger.records import Entry, Hold
from budget_core.ledger.sqlite.codec import (
    account_from,
    amounts_of,
    entry_from,
    limits_from,
    names,
    names_from,
    numbers_from,
    text_of_account,
    text_of_limits,
)
from budget_core.ledger.sqlite.oplog import Oplog, Row
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO, Amounts

_PATH: Final = """
WITH RECURSIVE way (id, depth) AS (
    SELECT ?, 0 UNION ALL
    SELECT parent, depth + 1 FROM way JOIN account USING (id) WHERE parent IS NOT NULL
)
SELECT account.* FROM way JOIN account USING (id) ORDER BY depth DESC"""
_HOT: Final = """
UPDATE account SET spent_usd = ?, spent_tokens = ?, spent_llm_calls = ?, spent_tool_calls = ?,
    held_usd = ?, held_tokens = ?, held_llm_calls = ?, held_tool_calls = ? WHERE id = ?"""
_WHOLE: Final = "INSERT OR REPLACE INTO account VALUES (" + "?, " * 19 + "?)"
_HOLD: Final = "INSERT OR REPLACE INTO hold VALUES (" + "?, " * 10 + "?)"
_COLUMNS: Final = (
    "id, kind, time, accounts, path, root, usd, tokens, llm_calls, tool_calls, held, after, late,"
    " over, asked"
)
_LAST_ENTRY: Final = f"SELECT {_COLUMNS} FROM entry WHERE id = ? ORDER BY number DESC LIMIT 1"  # noqa: S608
_LAST_IN_OPLOG: Final = f"""
SELECT {_COLUMNS} FROM oplog WHERE id = ? AND kind <> 'hold' ORDER BY number DESC LIMIT 1"""  # noqa: S608
_IN_OPLOG: Final = f"""
SELECT {_COLUMNS} FROM oplog WHERE kind NOT IN ('hold', 'written')"""  # noqa: S608
_IN_TABLE: Final = f"SELECT {_COLUMNS} FROM entry"  # noqa: S608
_COUNT: Final = """
SELECT (SELECT count(*) FROM entry)
    + (SELECT count(*) FROM oplog WHERE kind NOT IN ('hold', 'written'))"""


class Accounts(MutableMapping[str, Node]):
    """The accounts that can be named.

    Attributes:
        known: those that were read.
    """

    def __init__(self, oplog: Oplog) -> None:
        self.known: dict[str, Node] = {}
        self._oplog = oplog
        self._written: dict[str, tuple[Any, Any]] = {}
        self._touched: dict[tuple[str, ...], Route] = {}

    def stale(self) -> None:
        self.known.clear()
        self._written.clear()
        self._touched.clear()

    def touch(self, route: Route) -> None:
        """Look, when all is written, whether something on this way has changed."""
        self._touched[route.ids] = route

    def even_gone(self, key: str) -> Node:
        """Return an account, also one that is forgotten but still there."""
        if key not in self.known:
            self._read(key)
        node = self.known[key]
        if self._oplog.writing:
            self._touched[node.route.ids] = node.route
        return node

    def route(self, keys: Sequence[str]) -> Route:
        """Return the way of what was held or spent; accounts that are forgotten still count."""
        if len(keys) == 1:
            return self.even_gone(keys[0]).route
        return Route.union([self.even_gone(key).route for key in sorted(keys)])

    def __getitem__(self, key: str) -> Node:
        node = self.even_gone(key)
        if node.gone:
            raise KeyError(key)
        return node

    def __setitem__(self, key: str, node: Node) -> None:
        self.known[key] = node
        self.touch(node.route)

    def __delitem__(self, key: str) -> None:
        self.known.pop(key, None)
        self._written.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        rows = self._oplog.execute("SELECT id FROM account WHERE NOT gone").fetchall()
        return iter([key for (key,) in rows if not self.even_gone(key).gone])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def flush(self) -> bool:
        """Write what has changed; return whether anything had."""
        hot, whole = [], []
        for node in {each.id: each for way in self._touched.values() for each in way.path}.values():
            before, now = self._written.get(node.id), _state(node)
            if before == now:
                continue
            self._written[node.id] = now
            if before is not None and before[1] == now[1]:
                hot.append((*node.spent, *node.held, node.id))
            else:
                whole.append(_account_row(node))
        self._touched.clear()
        self._oplog.execute_many(_HOT, hot)
        self._oplog.execute_many(_WHOLE, whole)
        return bool(hot or whole)

    def _read(self, key: str) -> None:
        for row in self._oplog.execute(_PATH, (key,)).fetchall():
            if row[0] not in self.known:
                above = self.known[row[1]] if row[1] is not None else None
                node = self.known[row[0]] = _node_from(row, above)
                self._written[node.id] = _state(node)


class Holds(MutableMapping[str, LiveHold]):
    """The live holds; a hold that is set goes to the log."""

    def __init__(self, oplog: Oplog, accounts: Accounts) -> None:
        self._oplog = oplog
        self._accounts = accounts
        self._known: dict[str, LiveHold | None] | None = None
        self._changed: set[str] = set()

    def stale(self) -> None:
        self._known = None
        self._changed.clear()

    def __contains__(self, key: object) -> bool:
        return key in self._all()

    def __getitem__(self, key: str) -> LiveHold:
        known = self._all()
        live = known[key]
        if live is None:
            live = known[key] = self._read(key)
        return live

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self._all() else default

    def __setitem__(self, key: str, live: LiveHold) -> None:
        self._all()[key] = live
        self._changed.add(key)
        self._accounts.touch(live.route)
        self._oplog.append_hold(live)

    def __delitem__(self, key: str) -> None:
        if self.pop(key) is None:
            raise KeyError(key)

    def pop(self, key: str, default: Any = None) -> Any:
        known = self._all()
        if key not in known:
            return default
        live = known.pop(key) or self._read(key)
        self._changed.add(key)
        self._accounts.touch(live.route)
        return live

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def of_owner(self, owner: str) -> list[str]:
        return [key for key, live in self.items() if live.owner == owner]

    def flush(self) -> bool:
        known, changed = self._all(), sorted(self._changed)
        self._changed.clear()
        rows = [_hold_row(live) for key in changed if (live := known.get(key)) is not None]
        ended = [(key,) for key in changed if key not in known]
        self._oplog.execute_many("DELETE FROM hold WHERE id = ?", ended)
        self._oplog.execute_many(_HOLD, rows)
        return bool(changed)

    def _all(self) -> dict[str, LiveHold | None]:
        if self._known is None:
            self._known = {key: None for (key,) in self._oplog.execute("SELECT id FROM hold")}
        return self._known

    def _read(self, key: str) -> LiveHold:
        row = self._oplog.execute("SELECT * FROM hold WHERE id = ?", (key,)).fetchone()
        live = self._live(key, row[1], row[3:7], row[7], *row[9:11])
        if row[8] is not None:
            live.above = Amounts(*json.loads(row[8]))
        return live

    def from_row(self, row: Row) -> LiveHold:
        return self._live(row[1], row[4], row[5:9], row[9], row[3], row[10])

    def _live(
        self, key: str, accounts: str, amounts: Row, final: str | None, at: float, owner: str
    ) -> LiveHold:
        route = self._accounts.route(names_from(accounts))
        hold = Hold(key, names_from(accounts), amounts_of(amounts))
        last = None if final is None else self._accounts.even_gone(final)
        return LiveHold(hold, route, last, at, owner)


class Entries:
    """The records but those in which every account is gone; each is in the log at first.

    Attributes:
        in_oplog: the ids of those that are in the log still.
    """

    def __init__(self, oplog: Oplog, accounts: Accounts) -> None:
        self.in_oplog: set[str] = set()
        self._oplog = oplog
        self._accounts = accounts
        self._newest = 0

    def stale(self) -> None:
        """Know no record that is still in the log."""
        self.in_oplog.clear()

    def forked(self) -> None:
        self._newest = 0

    def get(self, key: str) -> Entry | None:
        statement = _LAST_IN_OPLOG if key in self.in_oplog else _LAST_ENTRY
        columns = self._oplog.execute(statement, (key,)).fetchone()
        return None if columns is None else entry_from(columns)

    def __contains__(self, key: str) -> bool:
        if (number := number_of(key)) > self._newest:  # it was made just now: spare the search
            self._newest = number
            return key in self.in_oplog
        return self.get(key) is not None

    def add(self, entry: Entry) -> None:
        passing = self._accounts.even_gone(entry.path[-1]).account.lasts == "run"
        self._oplog.append_entry(entry, passing=passing)
        self.in_oplog.add(entry.id)

    def __iter__(self) -> Iterator[Entry]:
        for statement in (_IN_TABLE, _IN_OPLOG):  # the log is younger than the table
            for columns in self._oplog.execute(f"{statement} ORDER BY number"):
                yield entry_from(columns)

    def __len__(self) -> int:
        many: int = self._oplog.execute(_COUNT).fetchone()[0]
        return many

    def newest(self, account: str | None) -> Iterator[Entry]:
        """Return the records, newest first, that may have passed an account."""
        part = "" if account is None else json.dumps(account)
        for statement, word in ((_IN_OPLOG, "AND"), (_IN_TABLE, "WHERE")):
            parts = f"{statement} {word} instr(path, ?) ORDER BY number DESC"
            for columns in self._oplog.execute(parts, (part,)):
                yield entry_from(columns)

    def folded(self, _account: str) -> tuple[Amounts, Amounts]:
        """Return nothing: every record of an account that is left is kept."""
        return ZERO, ZERO

    def forget_root(self, root: str) -> None:
        """Drop the records in which no account is left."""
        rows = self._oplog.execute(
            "SELECT id, number, path FROM entry WHERE passing AND root = ?", (root,)
        ).fetchall()
        for key, number, path in rows:
            left = self._oplog.execute(
                "SELECT id FROM account WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1",
                (path,),
            ).fetchone()
            if left is None:
                statement, what = "DELETE FROM entry", ()
            else:
                statement, what = "UPDATE entry SET root = ?", left
            self._oplog.execute(f"{statement} WHERE id = ? AND number = ?", (*what, key, number))


def _state(node: Node) -> tuple[Any, Any]:
    """Return what is written of an account: what every call changes, and the rest."""
    return (node.spent, *node.held), (
        node.account, node.account.lasts, node.limits, *node.kept, *node.aside, *node.excess,
        node.state, node.final, node.gone, len(node.owners), *node.owners,
        [window.saved() for window in node.windows] if node.windows else None,
    )  # fmt: skip


def _account_row(node: Node) -> tuple[Any, ...]:
    return (
        node.id, node.account.parent, text_of_account(node.account), text_of_limits(node.limits),
        *node.spent, *node.held, node.state, node.final, node.gone, json.dumps(node.kept),
        json.dumps(node.aside), json.dumps(node.excess), json.dumps(sorted(node.owners)),
        json.dumps([window.saved() for window in node.windows]),
    )  # fmt: skip


def _node_from(row: Row, above: Node | None) -> Node:
    node = Node(account_from(row[0], row[1], row[2]), above, 0.0)
    node.change_to(node.account, limits_from(row[3]))
    node.spent = amounts_of(row[4:8])
    node.held = list(amounts_of(row[8:12]))
    node.state, node.final, node.gone = row[12], row[13], bool(row[14])
    node.kept, node.aside, node.excess = map(numbers_from, row[15:18])
    node.owners = set(json.loads(row[18]))
    for window, saved in zip(node.windows, json.loads(row[19]), strict=True):
        window.restore(saved)
    return node


def _hold_row(live: LiveHold) -> tuple[Any, ...]:
    hold, final = live.hold, live.final
    return (
        hold.id, names(hold.accounts), names(live.route.ids), *hold.amounts,
        final.id if final is not None else None,
        json.dumps(live.above) if final is not None else None, live.at, live.owner,
    )  # fmt: skip
