"""The ledger in memory: one lock, integers, O(depth) an operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from threading import RLock
from time import time

from budget_core.ledger.audit import unheld
from budget_core.ledger.books import BookLedger
from budget_core.ledger.clock import Clock
from budget_core.ledger.records import Account, Balance, Denial, Entry, Hold
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO, Amounts


class MemoryLedger(BookLedger):
    """Keeps everything in this process; gone with it.

    What nearly every call does is done in line: one account and its parents, all open, without
    windows or allocations, not for a last call, and enough money. Whatever else there is goes the
    way of `BookLedger`; a test compares the two.

    Holds never expire: they end with their call, or are swept with the session.

    Args:
        keep_entries: how many records to keep. Older ones are folded into a total an account,
            so that `verify` still replays everything; their ids are no longer known.
        clock: in place of the machine's.
    """

    def __init__(self, keep_entries: int = 8_000, *, clock: Clock | None = None) -> None:
        super().__init__(clock)
        # reentrant: a finalizer that only reads may run inside an operation
        self._lock = self._for_writing = self._for_appending = self._for_reading = RLock()
        self._nodes: dict[str, Node] = {}
        self._live: dict[str, LiveHold] = {}
        self._records: MemoryRecords = MemoryRecords(keep_entries, self._nodes)
        self._time = time if clock is None else clock.now
        self._usual: dict[str, Node] = {}
        """The accounts that are known to go the short way."""

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        with self._lock:
            node = None
            if final is None and len(accounts) == 1 and not self._forgotten:
                node = self._usual.get(accounts[0]) or self._found(accounts[0])
            if node is None or hold_id in self._live or self._records.get(hold_id) is not None:
                return super().reserve(hold_id, accounts, amounts, final=final)
            path = node.path
            for each in path:
                if each.state != "open":
                    return super().reserve(hold_id, accounts, amounts)
                spent, held, kept = each.spent, each.held, each.kept
                for at, limit in each.caps:
                    want, used = amounts[at], spent[at]
                    if used > limit or (want and used + held[at] + want > limit - kept[at]):
                        return super().reserve(hold_id, accounts, amounts)
            hold: Hold = tuple.__new__(Hold, (hold_id, tuple(accounts), amounts))
            self._live[hold_id] = LiveHold(hold, node.route, None, self._time())
            usd, tokens, llm_calls, tool_calls = amounts
            for each in path:
                held = each.held
                held[0] += usd
                held[1] += tokens
                held[2] += llm_calls
                held[3] += tool_calls
            return hold

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        with self._lock:
            live = self._live.get(hold_id)
            usual = live is not None and live.final is None and len(live.hold.accounts) == 1
            if live is None or not usual or self._forgotten:
                return super().commit(hold_id, amounts, accounts)
            if live.hold.accounts[0] not in self._usual:
                return super().commit(hold_id, amounts, accounts)
            del self._live[hold_id]
            hold, route = live.hold, live.route
            usd, tokens, llm_calls, tool_calls = hold.amounts
            for node in route.path:
                held = node.held
                held[0] -= usd
                held[1] -= tokens
                held[2] -= llm_calls
                held[3] -= tool_calls
            after, over = self._spend(route, amounts)
            entry: Entry = tuple.__new__(
                Entry,
                (hold_id, "commit", hold.accounts, route.ids, hold.amounts, amounts, after, over,
                 False, None, self._time()),
            )  # fmt: skip
            self._records.add(entry)
        if self._watchers:
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
        with self._lock:
            node = None
            if final is None and len(accounts) == 1 and not self._forgotten:
                node = self._usual.get(accounts[0]) or self._found(accounts[0])
            if node is None or self._records.get(charge_id) is not None:
                return super().charge(charge_id, accounts, amounts, final=final)
            after, over = self._spend(node.route, amounts)
            over = over or node.route.ended(amounts)
            entry: Entry = tuple.__new__(
                Entry,
                (charge_id, "charge", tuple(accounts), node.route.ids, ZERO, amounts, after, over,
                 False, None, self._time()),
            )  # fmt: skip
            self._records.add(entry)
            return entry

    def open(self, account: Account, *, update: bool = False) -> Balance | Denial:
        with self._lock:
            self._usual.clear()  # its windows may be others now, and so may its children's way be
            return super().open(account, update=update)

    def _found(self, account: str) -> Node | None:
        """Return an account, and remember it, if neither it nor a parent has windows or a part."""
        node = self._nodes.get(account)
        if node is None or node.route.allocated or any(each.windows for each in node.path):
            return None
        self._usual[account] = node
        return node

    def _spend(self, route: Route, amounts: Amounts) -> tuple[tuple[Amounts, ...], Denial | None]:
        """Spend in all accounts of a usual way; return what they have spent, and who is over."""
        usd, tokens, llm_calls, tool_calls = amounts
        after: list[Amounts] = []
        beyond = False
        for node in route.path:
            spent = node.spent
            spent = node.spent = tuple.__new__(
                Amounts,
                (spent[0] + usd, spent[1] + tokens, spent[2] + llm_calls, spent[3] + tool_calls),
            )
            after.append(spent)
            for at, limit in node.caps:
                beyond = beyond or spent[at] > limit - node.kept[at]
        return tuple(after), route.over(None, amounts) if beyond else None

    def _drop(self, account: str) -> None:
        self._usual.pop(account, None)
        if node := self._nodes.pop(account, None):
            node.end("closed")
            self._records.forget(account)


class MemoryRecords:
    """The last records, and what the older ones came to."""

    def __init__(self, keep: int, nodes: Collection[str]) -> None:
        self._keep = keep
        self._nodes = nodes
        self._entries: deque[Entry] = deque()
        self._ended: dict[str, Entry] = {}
        self._folded: dict[str, list[int]] = {}
        self.get: Callable[[str], Entry | None] = self._ended.get

    def __contains__(self, key: str) -> bool:
        """Return whether something was recorded under an id."""
        return key in self._ended

    def add(self, entry: Entry) -> None:
        """Keep a record, and fold the oldest one if these are too many."""
        self._ended[entry[0]] = entry
        self._entries.append(entry)
        if len(self._entries) > self._keep:
            self._fold(self._entries.popleft())

    def __iter__(self) -> Iterator[Entry]:
        """Return those that are kept, oldest first."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._entries)

    def newest(self, _account: str | None) -> Iterator[Entry]:
        """Return those that are kept, newest first."""
        return reversed(self._entries)

    def folded(self, account: str) -> tuple[Amounts, Amounts]:
        """Return what records that are not kept came to: spent, and spent beyond their holds."""
        sums = self._folded.get(account)
        return (ZERO, ZERO) if sums is None else (Amounts(*sums[:4]), Amounts(*sums[4:]))

    def forget(self, account: str) -> None:
        """Drop the sum of an account that is gone."""
        self._folded.pop(account, None)

    def _fold(self, entry: Entry) -> None:
        key, amounts = entry[0], entry[5]
        if self._ended.get(key) is entry:
            del self._ended[key]
        beyond = unheld(entry)
        for account in entry[3]:
            sums = self._folded.get(account)
            if sums is None:
                if account not in self._nodes:
                    continue
                sums = self._folded[account] = [0] * 8
            sums[0] += amounts[0]
            sums[1] += amounts[1]
            sums[2] += amounts[2]
            sums[3] += amounts[3]
            if beyond is not ZERO:
                sums[4] += beyond[0]
                sums[5] += beyond[1]
                sums[6] += beyond[2]
                sums[7] += beyond[3]
