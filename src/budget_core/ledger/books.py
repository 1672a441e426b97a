"""What every operation does to a tree of accounts, wherever a backend keeps it."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Final, Protocol

from budget_core.errors import AccountConflict, HoldConflict, InvalidBudget
from budget_core.ledger.audit import Kept, Progress, faults
from budget_core.ledger.clock import SYSTEM, Clock
from budget_core.ledger.contract import Ledger
from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    Kind,
    LiveHoldView,
    State,
    conflict,
)
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.ledger.watchers import Watchers
from budget_core.money.amounts import ZERO, Amounts
from budget_core.runtime.finalizers import reap

STANDING: Final = "*"
"""The owner of an account that is open whatever processes run."""


class Records(Kept, Protocol):
    """The entries of a ledger, by their ids, too."""

    def get(self, key: str) -> Entry | None: ...

    def __contains__(self, key: str) -> bool: ...

    def add(self, entry: Entry) -> None: ...

    def newest(self, account: str | None) -> Iterator[Entry]:
        """Return records, newest first; maybe only those that may have passed `account`."""


class BookLedger(Ledger):
    """Every operation, on accounts, holds and records that a backend keeps.

    Attributes:
        _lock: taken before all of these, by one that an interrupt cannot leave locked: entered and
            left in C, where no signal's handler runs.
        _for_writing: entered for an operation that may write; nothing else happens meanwhile.
        _for_appending: entered for one that writes holds and records, and accounts only through
            these.
        _for_reading: entered for one that only reads.
        _owner: this process.
    """

    _lock: AbstractContextManager[object]
    _for_writing: AbstractContextManager[object]
    _for_appending: AbstractContextManager[object]
    _for_reading: AbstractContextManager[object]
    _nodes: MutableMapping[str, Node]
    _live: MutableMapping[str, LiveHold]
    _records: Records
    _owner: str = ""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SYSTEM
        self._forgotten: deque[str] = deque()
        self._watchers = Watchers()

    @abstractmethod
    def _drop(self, account: str) -> None: ...

    def _now(self) -> float:
        return self.clock.now()

    def _reading(self) -> AbstractContextManager[object]:
        return self._for_writing if self._forgotten else self._for_reading

    def open(self, account: Account, *, update: bool = False) -> Balance | Denial:
        with self._lock, self._for_writing:
            self._drop_forgotten()
            now, node = self._now(), self._nodes.get(account.id)
            denial: Denial | None = None
            if node is None:
                parent = self._nodes[account.parent] if account.parent is not None else None
                node = Node(account, parent, now)
                denial = node.begin()
            else:
                if _changes(node.account, account):
                    update = update or node.account.lasts == "implied"
                    if not update or _moved(node.account, account):
                        raise AccountConflict(conflict(node.account, account, update=update))
                    denial = node.change(account, now)
                if denial is None and node.dormant:
                    denial = node.begin()
            if denial is not None:
                return denial
            node.owners.add(STANDING if account.stands else self._owner)
            self._nodes[account.id] = node
            balance = node.balance(now)
        if update:
            self._wake()
        return balance

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        with self._lock, self._for_appending:
            if self._forgotten:
                self._drop_forgotten()
            if hold_id in self._live or hold_id in self._records:
                return self._replayed(hold_id, accounts, amounts, final)
            last = self._nodes[final] if final is not None else None
            hold = Hold(hold_id, tuple(accounts), amounts)
            live = LiveHold(hold, self._route(accounts), last, self._now(), self._owner)
            if denial := live.place():
                return denial
            self._live[hold_id] = live
            return hold

    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        with self._lock, self._for_appending:
            live = self._live.get(hold_id)
            if live is None:
                raise HoldConflict(f"Hold {hold_id} is not live, so it cannot be extended.")
            union = tuple(dict.fromkeys((*live.hold.accounts, *accounts)))
            hold = Hold(hold_id, union, amounts)
            wider = LiveHold(hold, self._route(union), live.final, live.at, live.owner)
            if not (less := wider.within(live)):
                wider.at = self._now()
            live.lift()
            if denial := wider.place(force=less):
                live.place(force=True)
                return denial
            wider.route.trim()
            self._live[hold_id] = wider
        self._wake(wider.route.ids)
        return hold

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        with self._lock, self._for_appending:
            if self._forgotten:
                self._drop_forgotten()
            live = self._live.pop(hold_id, None)
            if live is None:
                entry = self._commit_late(hold_id, amounts, accounts)
            else:
                entry = self._end("commit", live, amounts)
        self._wake(entry.path)
        return entry

    def release(self, hold_id: str) -> Entry | None:
        with self._lock, self._for_appending:
            if self._forgotten:
                self._drop_forgotten()
            live = self._live.pop(hold_id, None)
            if live is None:
                return self._records.get(hold_id)
            entry = self._end("release", live, ZERO)
        self._wake(entry.path)
        return entry

    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        with self._lock, self._for_appending if final is None else self._for_writing:
            if self._forgotten:
                self._drop_forgotten()
            if known := self._records.get(charge_id):
                return _same(known, amounts)
            last = self._nodes[final] if final is not None else None
            entry = self._charge("charge", charge_id, accounts, amounts, last)
            if last is not None:
                last.finish()
            return entry

    def balance(self, account: str) -> Balance:
        with self._lock, self._reading():
            if self._forgotten:
                self._drop_forgotten()
            return self._nodes[account].balance(self._now())

    def accounts(self) -> list[Balance]:
        reap()
        with self._lock, self._reading():
            self._drop_forgotten()
            now = self._now()
            nodes = sorted(self._nodes.values(), key=lambda node: node.id)
            return [node.balance(now) for node in nodes]

    def describe(self, account: str) -> Account:
        with self._lock, self._for_reading:
            return self._nodes[account].account

    def holds(self, account: str | None = None) -> list[LiveHoldView]:
        with self._lock, self._reading():
            self._drop_forgotten()
            now = self._now()
            return [
                LiveHoldView(live.hold, max(0.0, now - live.at), live.owner, self._expiry(live))
                for live in sorted(self._live.values(), key=lambda live: live.at)
                if account is None or account in live.route.ids
            ]

    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        with self._lock, self._for_writing if self._forgotten else self._for_reading:
            if self._forgotten:
                self._drop_forgotten()
            last = self._nodes[final] if final is not None else None
            return self._route(accounts).headroom(last, self._now)

    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        with self._lock, self._for_writing:
            self._drop_forgotten()
            node = self._nodes[account]
            if node.state != "open" or node.final is not None:
                return Amounts(*node.kept)
            granted = node.keep_back(amounts)
        self._wake()
        return granted

    def top_up(self, account: str, amounts: Amounts) -> Balance:
        with self._lock, self._for_writing:
            self._drop_forgotten()
            node = self._nodes[account]
            if denial := node.raise_limits(amounts):
                raise InvalidBudget(
                    f"{account} was allocated from {denial.account}, which has not enough "
                    "left for this top-up. Top that account up first."
                )
            balance = node.balance(self._now())
        self._wake()
        return balance

    def close(self, account: str, state: State = "closed") -> None:
        with self._lock, self._for_writing:
            self._drop_forgotten()
            node = self._nodes[account]
            node.owners.discard(self._owner)
            if state != "closed" or not node.owners:
                node.end(state)
        self._wake()

    def forget(self, account: str) -> None:
        # called by finalizers, which may run inside an operation: it only queues
        self._forgotten.append(account)

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        reap()
        with self._lock, self._reading():
            self._drop_forgotten()
            kept = list(self._records)
        return (entry for entry in kept if account is None or account in entry.path)

    def last_entries(self, many: int, account: str | None = None) -> list[Entry]:
        reap()
        with self._lock, self._reading():
            self._drop_forgotten()
            newest = self._records.newest(account)
            found = (entry for entry in newest if account is None or account in entry.path)
            return list(islice(found, many))[::-1]

    def verify(self, progress: Progress | None = None) -> list[str]:
        reap()
        with self._lock, self._reading():
            self._drop_forgotten()
        with self._lock, self._for_reading:  # others may write meanwhile
            nodes, live = self._nodes.values(), list(self._live.values())
            return list(faults(nodes, live, self._records, progress))

    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        with self._lock, self._for_reading:
            node = self._nodes[account]
            return any(
                live.hold.amounts.llm_calls and node.holds_for(live.route) and key not in besides
                for key, live in self._live.items()
            )

    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        return self._watchers.watch(callback, account)

    def _wake(self, path: Sequence[str] | None = None) -> None:
        if self._watchers:
            self._watchers.wake(path)

    def _expiry(self, _live: LiveHold) -> float | None:
        return None

    def _drop_forgotten(self) -> None:
        while self._forgotten:
            self._drop(self._forgotten.popleft())

    def _route(self, accounts: Sequence[str]) -> Route:
        if len(accounts) == 1:
            return self._nodes[accounts[0]].route
        return Route.union([self._nodes[account].route for account in sorted(accounts)])

    def _route_of_record(self, accounts: Sequence[str]) -> Route:
        """Return the way of what was spent; accounts that are forgotten still count."""
        return self._route(accounts)

    def _end(self, kind: Kind, live: LiveHold, amounts: Amounts) -> Entry:
        hold, route, final = live.hold, live.route, live.final
        live.pay(kind, amounts)
        entry = Entry(
            hold.id, kind, hold.accounts, route.ids, hold.amounts, amounts,
            () if kind == "release" else route.spent(),
            None if kind == "release" else route.over(final, amounts), time=self._now(),
        )  # fmt: skip
        self._records.add(entry)
        live.leave(kind)
        return entry

    def _charge(
        self,
        kind: Kind,
        key: str,
        accounts: Sequence[str],
        amounts: Amounts,
        final: Node | None = None,
        asked: Amounts | None = None,
    ) -> Entry:
        route, now = self._route_of_record(accounts), self._now()
        route.spend(amounts, route.moment(now))
        route.trim()
        over = route.over(final, amounts)
        if over is None and kind == "charge":
            over = route.ended(amounts)
        entry = Entry(
            key, kind, tuple(accounts), route.ids, ZERO, amounts, route.spent(),
            over, late=kind == "commit", asked=asked, time=now,
        )  # fmt: skip
        self._records.add(entry)
        return entry

    def _commit_late(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        known = self._records.get(hold_id)
        if known is not None and known.kind not in {"release", "expire"}:
            return _same(known, amounts)
        if known is None or not any(known.amounts):
            return self._charge("commit", hold_id, accounts, amounts)
        rest = Amounts(*(max(0, x - y) for x, y in zip(amounts, known.amounts, strict=True)))
        return self._charge("commit", hold_id, accounts, rest, asked=amounts)

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


def _changes(known: Account, asked: Account) -> bool:
    if "implied" in (known.lasts, asked.lasts):
        return asked.lasts != "implied"
    return known != asked


def _moved(known: Account, asked: Account) -> bool:
    return (known.parent, known.allocated) != (asked.parent, asked.allocated)


def _same(known: Entry, amounts: Amounts) -> Entry:
    recorded = known.amounts if known.asked is None else known.asked
    if recorded != amounts:
        raise HoldConflict(
            f"{known.id} was recorded with {recorded} and cannot be recorded again with {amounts}."
        )
    return known
