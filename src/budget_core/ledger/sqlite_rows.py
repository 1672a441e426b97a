"""Accounts, holds and records of a SQLite file as the books see them.

Accounts are cached: as long as no other process has written, what this one knows is true.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, MutableMapping, Sequence
from functools import lru_cache
from time import time_ns
from typing import Any, Final

from budget_core.ledger.base import Account, Denial, Entry, Hold
from budget_core.ledger.tree import LiveHold, Node, Route
from budget_core.limits import ZERO, Amounts, Limit, Limits

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
_ENTRY: Final = "INSERT INTO entry VALUES (" + "?, " * 16 + "?)"


class Rows:
    """What the three tables share: the connection of the operation that is under way."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection = None  # type: ignore[assignment]

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement in the operation that is under way."""
        return self.connection.execute(statement, parameters)


class Accounts(MutableMapping[str, Node]):
    """The accounts that can be named; what an operation changed is written by `flush`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._nodes: dict[str, Node] = {}
        self._written: dict[str, tuple[Any, Any]] = {}
        self._read_in: dict[str, int] = {}
        self._touched: dict[str, Node] = {}
        self._epoch = 0

    def stale(self) -> None:
        """Believe nothing of what was read before."""
        self._epoch += 1
        self._touched.clear()

    def untouch(self) -> None:
        """End an operation that only read."""
        self._touched.clear()

    def even_gone(self, key: str) -> Node:
        """Return an account, also one that is forgotten but still there."""
        if self._read_in.get(key) != self._epoch:
            self._read(_PATH, (key,))
        node = self._nodes[key]
        self._touched[key] = node
        return node

    def __getitem__(self, key: str) -> Node:
        node = self.even_gone(key)
        if node.gone:
            raise KeyError(key)
        return node

    def __setitem__(self, key: str, node: Node) -> None:
        self._nodes[key] = self._touched[key] = node
        self._read_in[key] = self._epoch

    def __delitem__(self, key: str) -> None:
        self._nodes.pop(key, None)
        self._written.pop(key, None)
        self._read_in.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        names = self._rows.execute("SELECT id FROM account WHERE NOT gone").fetchall()
        return iter([name for (name,) in names])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def flush(self) -> None:
        """Write what has changed."""
        hot, whole = [], []
        for node in {each.id: each for one in self._touched.values() for each in one.path}.values():
            before, now = self._written.get(node.id), _state(node)
            if before == now:
                continue
            self._written[node.id] = now
            if before is not None and before[1] == now[1]:
                hot.append((*node.spent, *node.held, node.id))
            else:
                whole.append(_account_row(node))
        if hot:
            self._rows.connection.executemany(_HOT, hot)
        if whole:
            self._rows.connection.executemany(_WHOLE, whole)
        self._touched.clear()

    def _read(self, statement: str, parameters: Sequence[Any]) -> None:
        rows = self._rows.execute(statement, parameters).fetchall()
        if not rows:
            for key in parameters:
                del self[key]
        for row in rows:
            self._restore(row)

    def _restore(self, row: tuple[Any, ...]) -> None:
        key, parent = row[0], row[1]
        if self._read_in.get(key) == self._epoch:
            return
        above = self._nodes[parent] if parent is not None else None
        account = _account_from(key, parent, row[2])
        node = self._nodes.get(key)
        if node is None or node.parent is not above or node.account.allocated != account.allocated:
            node = Node(account, above, 0.0)
        _fill(node, account, row)
        self._nodes[key], self._read_in[key] = node, self._epoch
        self._written[key] = _state(node)


class Holds(MutableMapping[str, LiveHold]):
    """The live holds."""

    def __init__(self, rows: Rows, accounts: Accounts) -> None:
        self._rows = rows
        self._accounts = accounts

    def __getitem__(self, key: str) -> LiveHold:
        row = self._rows.execute("SELECT * FROM hold WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return self._live(row)

    def pop(self, key: str, default: Any = None) -> Any:
        """Take a hold out; `default` if it is not live."""
        deleted = self._rows.execute("DELETE FROM hold WHERE id = ? RETURNING *", (key,))
        row = deleted.fetchall()
        return self._live(row[0]) if row else default

    def __setitem__(self, key: str, live: LiveHold) -> None:
        hold, final = live.hold, live.final
        self._rows.execute(
            _HOLD,
            (
                key, _names(hold.accounts), _names(live.route.ids), *hold.amounts,
                final.id if final is not None else None,
                json.dumps(live.above) if final is not None else None, live.at, live.owner,
            ),
        )  # fmt: skip

    def __delitem__(self, key: str) -> None:
        self._rows.execute("DELETE FROM hold WHERE id = ?", (key,))

    def __iter__(self) -> Iterator[str]:
        rows = self._rows.execute("SELECT id FROM hold").fetchall()
        return iter([key for (key,) in rows])

    def __len__(self) -> int:
        count: int = self._rows.execute("SELECT count(*) FROM hold").fetchone()[0]
        return count

    def of_owner(self, owner: str) -> list[str]:
        """Return the ids of a process's holds."""
        rows = self._rows.execute("SELECT id FROM hold WHERE owner = ?", (owner,)).fetchall()
        return [key for (key,) in rows]

    def _live(self, row: tuple[Any, ...]) -> LiveHold:
        key, accounts, _, usd, tokens, llm_calls, tool_calls, final, above, at, owner = row
        names = _named(accounts)
        node = self._accounts.even_gone
        if len(names) == 1:
            route = node(names[0]).route
        else:
            route = Route.union([node(name).route for name in sorted(names)])
        hold = Hold(key, names, Amounts(usd, tokens, llm_calls, tool_calls))
        live = LiveHold(hold, route, None if final is None else node(final), at, owner)
        if above is not None:
            live.above = Amounts(*json.loads(above))
        return live


class Entries:
    """The records, all of them but those in which every account is gone."""

    def __init__(self, rows: Rows, accounts: Accounts) -> None:
        self._rows = rows
        self._accounts = accounts
        self._last = 0

    def _next(self) -> int:
        """Return a number that grows with time: writers take turns, so they agree on the order."""
        self._last = max(self._last + 1, time_ns())
        return self._last

    def get(self, key: str) -> Entry | None:
        """Return the last record under an id."""
        row = self._rows.execute(
            "SELECT * FROM entry WHERE id = ? ORDER BY number DESC LIMIT 1", (key,)
        ).fetchone()
        return None if row is None else _entry_from(row)

    def add(self, entry: Entry) -> None:
        """Keep a record."""
        self._rows.execute(
            _ENTRY,
            (
                entry.id, self._next(), entry.kind, entry.time,
                _names(entry.accounts), _names(entry.path),
                entry.path[-1], *entry.amounts, _plain(entry.held),
                ";".join([_plain(each) for each in entry.after]), entry.late,
                json.dumps(entry.over) if entry.over is not None else None,
                _plain(entry.asked) if entry.asked is not None else None,
                self._accounts.even_gone(entry.path[-1]).account.lasts == "run",
            ),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Entry]:
        """Return them, oldest first."""
        rows = self._rows.execute("SELECT * FROM entry ORDER BY number")
        return iter([_entry_from(row) for row in rows])

    def folded(self, _account: str) -> tuple[Amounts, Amounts]:
        """Return nothing: every record of an account that is left is kept."""
        return ZERO, ZERO

    def forget_root(self, root: str) -> None:
        """Drop the records in which no account is left."""
        rows = self._rows.execute(
            "SELECT id, number, path FROM entry WHERE passing AND root = ?", (root,)
        ).fetchall()
        for key, number, path in rows:
            left = self._rows.execute(
                "SELECT id FROM account WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1",
                (path,),
            ).fetchone()
            if left is None:
                statement, what = "DELETE FROM entry", ()
            else:
                statement, what = "UPDATE entry SET root = ?", left
            self._rows.execute(f"{statement} WHERE id = ? AND number = ?", (*what, key, number))


def _state(node: Node) -> tuple[Any, Any]:
    """Return what is written of an account: what every call changes, and the rest."""
    return (node.spent, *node.held), (
        node.account, node.limits, *node.kept, *node.aside, *node.excess, node.state, node.final,
        node.gone, len(node.owners), *node.owners,
        [window.saved() for window in node.windows] if node.windows else None,
    )  # fmt: skip


def _account_row(node: Node) -> tuple[Any, ...]:
    account = node.account
    opened = [_limits(account.limits), account.reserve, account.allocated, account.lasts]
    return (
        node.id, account.parent, json.dumps(opened), json.dumps(_limits(node.limits)),
        *node.spent, *node.held, node.state, node.final, node.gone, json.dumps(node.kept),
        json.dumps(node.aside), json.dumps(node.excess), json.dumps(sorted(node.owners)),
        json.dumps([window.saved() for window in node.windows]),
    )  # fmt: skip


def _fill(node: Node, account: Account, row: tuple[Any, ...]) -> None:
    limits = _limits_from(row[3])
    if node.account != account or node.limits != limits or node.windows:
        node.change_to(account, limits)
    node.spent = Amounts(*row[4:8])
    node.held = list(row[8:12])
    node.state, node.final, node.gone = row[12], row[13], bool(row[14])
    node.kept, node.aside, node.excess = _numbers(row[15]), _numbers(row[16]), _numbers(row[17])
    node.owners = set(json.loads(row[18]))
    for window, saved in zip(node.windows, json.loads(row[19]), strict=True):
        window.restore(saved)


def _limits(limits: Limits) -> list[list[Any]]:
    return [[x.unit, x.amount, x.period, x.rolling, x.zone] for x in limits.every]


@lru_cache(4096)
def _limits_from(text: str) -> Limits:
    return Limits(tuple(Limit(*each) for each in json.loads(text)))


@lru_cache(4096)
def _account_from(key: str, parent: str | None, text: str) -> Account:
    limits, reserve, allocated, lasts = json.loads(text)
    every = Limits(tuple(Limit(*each) for each in limits))
    return Account(key, parent, every, Amounts(*reserve), allocated, lasts)


def _numbers(text: str) -> list[int]:
    return [0, 0, 0, 0] if text == "[0, 0, 0, 0]" else json.loads(text)


@lru_cache(4096)
def _names(names: tuple[str, ...]) -> str:
    return json.dumps(names)


@lru_cache(4096)
def _named(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _plain(amounts: Amounts) -> str:
    return f"{amounts[0]},{amounts[1]},{amounts[2]},{amounts[3]}"


def _amounts(text: str) -> Amounts:
    return Amounts(*map(int, text.split(",")))


def _entry_from(row: tuple[Any, ...]) -> Entry:
    after = tuple(_amounts(each) for each in row[12].split(";")) if row[12] else ()
    return Entry(
        row[0], row[2], _named(row[4]), _named(row[5]), _amounts(row[11]), Amounts(*row[7:11]),
        after, Denial(*json.loads(row[14])) if row[14] else None, bool(row[13]),
        _amounts(row[15]) if row[15] else None, row[3],
    )  # fmt: skip


__all__ = ["Accounts", "Entries", "Holds", "Rows"]
