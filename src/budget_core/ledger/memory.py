"""The ledger in memory: one lock, integers, O(depth) an operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from threading import RLock
from typing import Literal, TypeAlias

from budget_core.errors import AccountConflict, HoldConflict, InvalidBudget
from budget_core.ledger.base import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    Ledger,
    State,
)
from budget_core.ledger.tree import LiveHold, Node, Route, plus
from budget_core.limits import UNITS, ZERO, Amounts

Kind: TypeAlias = Literal["commit", "release", "charge"]


class MemoryLedger(Ledger):
    """Keeps everything in this process; gone with it.

    Holds never expire: they end with their call, or are swept with the session.

    Args:
        keep_entries: how many records to keep. Older ones are folded into a total an account,
            so that `verify` still replays everything; their ids are no longer known.
    """

    def __init__(self, keep_entries: int = 10_000) -> None:
        # reentrant: a finalizer that only reads may run inside an operation
        self._lock = RLock()
        self._nodes: dict[str, Node] = {}
        self._live: dict[str, LiveHold] = {}
        self._entries: deque[Entry] = deque()
        self._ended: dict[str, Entry] = {}
        self._folded: dict[str, tuple[Amounts, Amounts]] = {}
        self._forgotten: deque[str] = deque()
        self._keep = keep_entries
        self._watchers: dict[object, Callable[[], object]] = {}

    def open(self, account: Account) -> Balance | Denial:
        with self._lock:
            self._drop_forgotten()
            if node := self._nodes.get(account.id):
                if node.account != account:
                    raise AccountConflict(_conflict(node.account, account))
                reopened = node.state == "closed"
            else:
                parent = self._nodes[account.parent] if account.parent is not None else None
                node, reopened = Node(account, parent), True
            if reopened:
                if denial := node.begin():
                    return denial
                self._nodes[account.id] = node
            return node.balance()

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            if hold_id in self._live or hold_id in self._ended:
                return self._replayed(hold_id, accounts, amounts, final)
            route = self._route(accounts)
            last = self._nodes[final] if final is not None else None
            live = LiveHold(Hold(hold_id, tuple(accounts), amounts), route, last)
            if denial := live.place():
                return denial
            self._live[hold_id] = live
            return live.hold

    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        with self._lock:
            live = self._live.get(hold_id)
            if live is None:
                raise HoldConflict(f"Hold {hold_id} is not live, so it cannot be extended.")
            union = tuple(dict.fromkeys((*live.hold.accounts, *accounts)))
            wider = LiveHold(Hold(hold_id, union, amounts), self._route(union), live.final)
            live.lift()
            if denial := wider.place(force=wider.within(live)):
                live.place(force=True)
                return denial
            self._live[hold_id] = wider
        self._wake()
        return wider.hold

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            entry = self._commit(hold_id, amounts, accounts)
        self._wake()
        return entry

    def release(self, hold_id: str) -> Entry | None:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            live = self._live.pop(hold_id, None)
            if live is None:
                return self._ended.get(hold_id)
            live.lift()
            live.route.trim()
            if live.final is not None:
                live.final.trim()
            hold, ids = live.hold, live.route.ids
            entry = Entry(hold_id, "release", hold.accounts, ids, hold.amounts, ZERO)
            self._keep_entry(entry)
        self._wake()
        return entry

    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            if known := self._ended.get(charge_id):
                return _same(known, amounts)
            last = self._nodes[final] if final is not None else None
            entry = self._charge("charge", charge_id, accounts, amounts, last)
            if last is not None:
                last.finish()
            return entry

    def balance(self, account: str) -> Balance:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            return self._nodes[account].balance()

    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        with self._lock:
            if self._forgotten:
                self._drop_forgotten()
            room: list[int | None] = [None, None, None, None]
            last = self._nodes[final] if final is not None else None
            route = self._route(accounts)
            if any(node.state != "open" for node in route.path):
                return Headroom(0, 0, 0, 0)
            for node in route.checked:
                for at, limit in node.caps:
                    free = limit - node.spent[at] - node.held[at]
                    if node is not last:
                        free -= node.kept[at]
                    if last is not None and node in last.path[1:]:
                        free += last.aside[at]
                    least = room[at]
                    if least is None or free < least:
                        room[at] = max(0, free)
            return Headroom(*room)

    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        with self._lock:
            self._drop_forgotten()
            node = self._nodes[account]
            if node.state != "open" or node.final is not None:
                return Amounts(*node.kept)
            granted = node.keep_back(amounts)
        self._wake()
        return granted

    def top_up(self, account: str, amounts: Amounts) -> Balance:
        with self._lock:
            self._drop_forgotten()
            node = self._nodes[account]
            if denial := node.raise_limits(amounts):
                raise InvalidBudget(
                    f"{account} was allocated from {denial.account}, which has not enough "
                    "left for this top-up. Top that account up first."
                )
            balance = node.balance()
        self._wake()
        return balance

    def close(self, account: str, state: State = "closed") -> None:
        with self._lock:
            self._drop_forgotten()
            self._nodes[account].end(state)
        self._wake()

    def forget(self, account: str) -> None:
        # called by finalizers, which may run inside an operation: it only queues
        self._forgotten.append(account)

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        with self._lock:
            self._drop_forgotten()
            kept = list(self._entries)
        return (entry for entry in kept if account is None or account in entry.path)

    def verify(self) -> list[str]:
        with self._lock:
            self._drop_forgotten()
            return [
                fault
                for node in self._nodes.values()
                for fault in (*self._spent_faults(node), *self._held_faults(node))
            ]

    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        with self._lock:
            node = self._nodes[account]
            return any(
                live.hold.amounts.llm_calls and node in live.route.checked and key not in besides
                for key, live in self._live.items()
            )

    def watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = callback
        return lambda: self._watchers.pop(token, None) and None

    def _wake(self) -> None:
        if self._watchers:
            for callback in tuple(self._watchers.values()):
                callback()

    def _route(self, accounts: Sequence[str]) -> Route:
        if len(accounts) == 1:
            return self._nodes[accounts[0]].route
        return Route.union([self._nodes[account].route for account in sorted(accounts)])

    def _drop_forgotten(self) -> None:
        while self._forgotten:
            account = self._forgotten.popleft()
            if node := self._nodes.pop(account, None):
                node.end("closed")
                self._folded.pop(account, None)

    def _commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        live = self._live.pop(hold_id, None)
        if live is None:
            return self._commit_late(hold_id, amounts, accounts)
        live.lift()
        hold, route = live.hold, live.route
        route.spend(amounts)
        entry = Entry(
            hold_id, "commit", hold.accounts, route.ids, hold.amounts, amounts,
            route.spent(), route.over(live.final, amounts),
        )  # fmt: skip
        self._keep_entry(entry)
        if live.final is not None:
            live.final.finish()
        if route.allocated:
            route.trim()
        return entry

    def _charge(
        self,
        kind: Kind,
        key: str,
        accounts: Sequence[str],
        amounts: Amounts,
        final: Node | None = None,
    ) -> Entry:
        route = self._route(accounts)
        route.spend(amounts)
        route.trim()
        entry = Entry(
            key, kind, tuple(accounts), route.ids, ZERO, amounts, route.spent(),
            route.over(final, amounts), late=kind == "commit",
        )  # fmt: skip
        self._keep_entry(entry)
        return entry

    def _keep_entry(self, entry: Entry) -> None:
        self._ended[entry.id] = entry
        self._entries.append(entry)
        if len(self._entries) > self._keep:
            self._fold(self._entries.popleft())

    def _fold(self, entry: Entry) -> None:
        if self._ended.get(entry.id) is entry:
            del self._ended[entry.id]
        beyond = _unheld(entry)
        for account in entry.path:
            if account in self._nodes:
                spent, unheld = self._folded.get(account, (ZERO, ZERO))
                if beyond is not ZERO:
                    unheld = plus(unheld, beyond)
                self._folded[account] = plus(spent, entry.amounts), unheld

    def _commit_late(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        known = self._ended.get(hold_id)
        if known is not None and known.kind != "release":
            return _same(known, amounts)
        return self._charge("commit", hold_id, accounts, amounts)

    def _replayed(
        self, hold_id: str, accounts: Sequence[str], amounts: Amounts, final: str | None
    ) -> Hold:
        live = self._live.get(hold_id)
        if live is None:
            raise HoldConflict(f"Hold {hold_id} has ended; its id cannot be used again.")
        last = live.final.id if live.final is not None else None
        if live.hold != Hold(hold_id, tuple(accounts), amounts) or last != final:
            raise HoldConflict(f"Hold {hold_id} is live with another payload: {live.hold}.")
        return live.hold

    def _spent_faults(self, node: Node) -> Iterator[str]:
        replayed, unheld = self._folded.get(node.id, (ZERO, ZERO))
        for entry in self._entries:
            if node.id in entry.path:
                replayed = plus(replayed, entry.amounts)
                unheld = plus(unheld, _unheld(entry))
        if replayed != node.spent:
            yield f"{node.id}: spent {node.spent} but the entries come to {replayed}"
        for at, limit in node.caps:
            if node.spent[at] + node.held[at] > limit + unheld[at]:
                yield f"{node.id}: spent and reserved exceed the limit of {limit} {UNITS[at]}"

    def _held_faults(self, node: Node) -> Iterator[str]:
        held = ZERO
        nodes = dict.fromkeys(self._nodes.values())
        for live in self._live.values():
            nodes.update(dict.fromkeys(live.route.path))  # forgotten ones included
            held = plus(held, live.part(node)) if node in live.route.checked else held
        for other in nodes:
            if other is not node and other.parent and node in other.parent.route.checked:
                held = plus(held, Amounts(*other.aside))
        if list(held) != node.held:
            yield f"{node.id}: reserved {node.held} but holds and set-asides come to {held}"


def _unheld(entry: Entry) -> Amounts:
    """Return what an entry spent beyond what was held for it."""
    spent, held = entry.amounts, entry.held
    if spent[0] <= held[0] and spent[1] <= held[1] and spent[2] <= held[2] and spent[3] <= held[3]:
        return ZERO
    return Amounts(*(max(0, x - y) for x, y in zip(spent, held, strict=True)))


def _same(known: Entry, amounts: Amounts) -> Entry:
    if known.amounts != amounts:
        raise HoldConflict(
            f"{known.id} was recorded with {known.amounts} and cannot be recorded again with "
            f"{amounts}."
        )
    return known


def _conflict(known: Account, asked: Account) -> str:
    return (
        f"Account {asked.id!r} exists with {known}, and cannot be opened again as {asked}. "
        "Use another name, or the same limits."
    )
