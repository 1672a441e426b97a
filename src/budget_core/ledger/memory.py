"""The ledger in memory: one lock, integers, O(depth) an operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from threading import RLock

from budget_core.ledger.audit import unheld
from budget_core.ledger.books import BookLedger
from budget_core.ledger.clock import Clock
from budget_core.ledger.records import Entry
from budget_core.ledger.tree.accounts import Node
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import ZERO, Amounts, plus


class MemoryLedger(BookLedger):
    """Keeps everything in this process; gone with it.

    Holds never expire: they end with their call, or are swept with the session.

    Args:
        keep_entries: how many records to keep. Older ones are folded into a total an account,
            so that `verify` still replays everything; their ids are no longer known.
        clock: in place of the machine's.
    """

    def __init__(self, keep_entries: int = 10_000, *, clock: Clock | None = None) -> None:
        super().__init__(clock)
        # reentrant: a finalizer that only reads may run inside an operation
        self._lock = self._for_writing = self._for_appending = self._for_reading = RLock()
        self._nodes: dict[str, Node] = {}
        self._live: dict[str, LiveHold] = {}
        self._records: MemoryRecords = MemoryRecords(keep_entries, self._nodes)

    def _drop(self, account: str) -> None:
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
        self._folded: dict[str, tuple[Amounts, Amounts]] = {}
        self.get = self._ended.get

    def __contains__(self, key: str) -> bool:
        """Return whether something was recorded under an id."""
        return key in self._ended

    def add(self, entry: Entry) -> None:
        """Keep a record, and fold the oldest one if these are too many."""
        self._ended[entry.id] = entry
        self._entries.append(entry)
        if len(self._entries) > self._keep:
            self._fold(self._entries.popleft())

    def __iter__(self) -> Iterator[Entry]:
        """Return those that are kept, oldest first."""
        return iter(self._entries)

    def folded(self, account: str) -> tuple[Amounts, Amounts]:
        """Return what records that are not kept came to: spent, and spent beyond their holds."""
        return self._folded.get(account, (ZERO, ZERO))

    def forget(self, account: str) -> None:
        """Drop the sum of an account that is gone."""
        self._folded.pop(account, None)

    def _fold(self, entry: Entry) -> None:
        if self._ended.get(entry.id) is entry:
            del self._ended[entry.id]
        beyond = unheld(entry)
        for account in entry.path:
            if account in self._nodes:
                spent, more = self.folded(account)
                if beyond is not ZERO:
                    more = plus(more, beyond)
                self._folded[account] = plus(spent, entry.amounts), more
