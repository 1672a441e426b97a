"""What is on a Redis server, read a page at a time, so that nobody has to wait for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from budget_core.ledger.records import Entry, Hold
from budget_core.ledger.redis import codec
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO, Amounts

Told: TypeAlias = dict[str, Any]
Ask: TypeAlias = Callable[[str, str, int], Told]
"""Returns a page: what is wanted, from where on, how many."""
PAGE: Final = 50
RECORDS: Final = 500


def scanned(ask: Ask, what: str) -> Iterator[tuple[Told, Told]]:
    """Return each account or hold, and the page on which it was told; one may be told twice."""
    cursor = "0"
    while True:
        page = ask(what, cursor, PAGE)
        for each in page["found"]:
            yield each, page
        cursor = page["next"]
        if cursor == "0":
            return


def oldest_first(ask: Ask, until: int | None = None) -> Iterator[Entry]:
    at = 0
    while True:
        page = ask("entries", str(at), RECORDS)
        for raw in page["found"]:
            yield codec.entry_from(json.loads(raw))
        at += len(page["found"])
        if len(page["found"]) < RECORDS or (until is not None and at >= until):
            return


def newest_first(ask: Ask) -> Iterator[Entry]:
    """Return records as far back as there are any when the first page is read."""
    left = int(ask("entries", "0", 1)["records"])
    while left > 0:
        many = min(RECORDS, left)
        for raw in reversed(ask("entries", str(left - many), many)["found"]):
            yield codec.entry_from(json.loads(raw))
        left -= many


class Snapshot:
    """Accounts and holds, each as it was at some moment, and the records up to that.

    Accounts are read first, each with the number of records that it has seen. What others open or
    hold meanwhile may be told in parts; a record counts in those accounts that had seen it.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._nodes: dict[str, Node] = {}
        self._seen: dict[str, int] = {}
        self._folded: dict[str, tuple[Amounts, Amounts]] = {}
        self.has_lost_records = self._lives = False
        self._read_accounts()
        self.nodes = [node for node in self._nodes.values() if not node.gone]
        holds = {each["id"]: each for each, _ in scanned(ask, "holds")}
        self.has_lost_holds = self._lives and not holds
        self.live = [live for live in map(self._hold, holds.values()) if live is not None]

    def _read_accounts(self) -> None:
        """Read each account once its parent is read; one whose parent is newer is left out."""
        early: dict[str, list[tuple[Told, int]]] = {}
        for each, page in scanned(self._ask, "accounts"):
            due = [(each, int(page["records"]))]
            while due:
                told, seen = due.pop()
                key, parent = told["balance"][0], told["parent"]
                if parent is not None and parent not in self._nodes:
                    early.setdefault(parent, []).append((told, seen))
                elif key not in self._nodes:
                    self._add(key, told, seen)
                    due += early.pop(key, [])

    def _add(self, key: str, told: Told, seen: int) -> None:
        self._nodes[key], self._seen[key] = self._node(key, told), seen
        folded = codec.vector(told["folded"])
        if any(folded):
            self._folded[key] = folded, codec.vector(told["folded_beyond"])
        self._lives = self._lives or bool(told["live"])
        if not seen and folded != self._nodes[key].spent:
            self.has_lost_records = True

    def __iter__(self) -> Iterator[Entry]:
        """Return the records, without those accounts of their paths that had not seen them."""
        least = min(self._seen.values(), default=0)
        for at, entry in enumerate(oldest_first(self._ask, len(self))):
            if at < least:
                yield entry
            else:
                path = tuple(each for each in entry.path if at < self._seen.get(each, 0))
                yield entry._replace(path=path)

    def __len__(self) -> int:
        return max(self._seen.values(), default=0)

    def folded(self, account: str) -> tuple[Amounts, Amounts]:
        return self._folded.get(account, (ZERO, ZERO))

    def _node(self, key: str, each: Told) -> Node:
        parent = None if each["parent"] is None else self._nodes[each["parent"]]
        balance = each["balance"]
        account = codec.account_from(key, balance[1], each["lasts"])
        node = Node(account, parent, 0.0)
        node.change_to(account, codec.current(account.limits, balance[2]))
        node.kept, node.spent = list(codec.vector(balance[3])), codec.vector(balance[4])
        node.held, node.state = list(codec.vector(balance[5])), balance[6]
        node.aside = list(codec.vector(each["aside"]))
        node.excess = list(codec.vector(each["excess"]))
        node.final, node.gone = each["final"], each["gone"]
        for window, saved in zip(node.windows, each["windows"], strict=True):
            since, newest, slots = saved
            window.restore([since, newest, [[s, int(x), int(y)] for s, x, y in slots]])
        return node

    def _hold(self, each: Told) -> LiveHold | None:
        accounts = tuple(each["accounts"])
        if not self._nodes.keys() >= {*accounts, each["final"] or accounts[0]}:
            return None
        hold = Hold(each["id"], accounts, codec.vector(each["amounts"]))
        route = Route.union([self._nodes[account].route for account in sorted(accounts)])
        final = self._nodes[each["final"]] if each["final"] is not None else None
        live = LiveHold(hold, route, final, each["at"], each["owner"])
        if each["above"] is not None:
            live.above = codec.vector(each["above"])
        return live


__all__ = ["Snapshot", "newest_first", "oldest_first", "scanned"]
