"""The ledger's contract: what every backend does, and the records it answers with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from budget_core.errors import LedgerUnavailable
from budget_core.ledger.audit import Progress
from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    LiveHoldView,
    State,
)
from budget_core.money.amounts import Amounts


class OperationFailed(LedgerUnavailable):
    """The ledger did answer, with an error about this operation: it is not away for others."""


class Ledger(ABC):
    """Keeps accounts, holds and entries. Thread-safe; every operation is atomic.

    Ids of holds and charges are made by the caller (`new_id`) and make every operation
    idempotent: the same id with the same payload gets the stored answer, with another payload it
    raises HoldConflict. Backends raise LedgerUnavailable when they cannot answer.

    Ledgers that outlive a process keep its holds alive while it lives. Once it has not been heard
    of for the time to live, its holds expire, by the backend's clock: what was held is charged or
    given back, as the ledger was told, and recorded as "expire".

    A hold counts in the windows in which it was made, and so does what it comes to; a hold that
    is made larger later counts anew from then on.
    """

    blocks: bool = False
    """Operations may block on I/O: async callers run them in a thread."""
    outlives: bool = False
    """Accounts outlive the process: opened again by its name, one goes on."""
    poll: float = 1.0
    """Seconds after which a waiter looks again even if `watch` told it nothing."""

    @abstractmethod
    def open(self, account: Account, *, update: bool = False) -> Balance | Denial:
        """Open an account, or go on with it; denied if an ancestor cannot set its part aside.

        Args:
            account: its limits are those that it is declared with, top-ups not included.
            update: let these limits and this reserve replace those that it has.

        Raises:
            AccountConflict: it exists with other limits or another reserve and `update` is not
                set, or with another parent or allocation. What is "implied" is no conflict with
                any limits, nor any limits with that.
            KeyError: its parent is not open here.
        """

    @abstractmethod
    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        """Hold `amounts` in `accounts` and all their ancestors, each once: all or nothing.

        Args:
            hold_id: made by the caller, unique.
            accounts: one or several accounts of this ledger.
            amounts: the worst case of the call.
            final: the account whose last call this is: it may use what that account kept back,
                and no one else's. At most one at a time.
        """

    @abstractmethod
    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        """Make a live hold `amounts` in all, and let it run through `accounts` too.

        Giving back fails only in a cancelled account. A denial leaves the hold as it was.
        """

    @abstractmethod
    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        """End a hold with what the call came to, and free the rest. Never refuses.

        More than was held is recorded. A hold that ended otherwise, or that the ledger does not
        know, is recorded as late, in `accounts`; if it expired and was charged, only what it came
        to beyond that is added.
        """

    @abstractmethod
    def release(self, hold_id: str) -> Entry | None:
        """End a hold for which nothing was billed; None if it is not known."""

    @abstractmethod
    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        """Record what was spent without a hold. Never refuses; `over` tells of what had ended."""

    @abstractmethod
    def balance(self, account: str) -> Balance:
        """Return an account's standing. Raises KeyError if it was never opened."""

    @abstractmethod
    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        """Return how much a reserve in `accounts` could get now: nothing if one has ended."""

    @abstractmethod
    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        """Set the account's finalization reserve to `amounts`, or to as much as is free."""

    @abstractmethod
    def top_up(self, account: str, amounts: Amounts) -> Balance:
        """Raise the account's life-long limits."""

    @abstractmethod
    def close(self, account: str, state: State = "closed") -> None:
        """Refuse every later reserve and give back what was set aside; live holds go on.

        An account that other processes have open stays open for them if it is only "closed".
        """

    @abstractmethod
    def forget(self, account: str) -> None:
        """Close an account that can no longer be named; its records may be dropped."""

    @abstractmethod
    def entries(self, account: str | None = None) -> Iterator[Entry]:
        """Return the records, oldest first, as far back as the backend keeps them."""

    def last_entries(self, many: int, account: str | None = None) -> list[Entry]:
        """Return the newest records, oldest first, without reading those before them."""
        return list(deque(self.entries(account), maxlen=many))

    @abstractmethod
    def verify(self, progress: Progress | None = None) -> list[str]:
        """Replay the records against the balances; return what does not agree, or nothing.

        Args:
            progress: is told now and then how many records were replayed, and of how many.
        """

    @abstractmethod
    def accounts(self) -> list[Balance]:
        """Return the standing of every account that can be named, in the order of their ids."""

    @abstractmethod
    def describe(self, account: str) -> Account:
        """Return an account as it was opened. Raises KeyError if it never was."""

    @abstractmethod
    def holds(self, account: str | None = None) -> list[LiveHoldView]:
        """Return the live holds, oldest first; those that pass through `account`, if given."""

    @abstractmethod
    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        """Return whether an LLM call holds money of `account`, other than those named."""

    def go_on_without(self, account: str) -> None:  # noqa: B027  most ledgers are never away
        """Let calls of `account` go on while the ledger does not answer, if it ever does not."""

    @abstractmethod
    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        """Call `callback`, from any thread, whenever money may have become free.

        Args:
            callback: takes nothing.
            account: whose money; None for that of any.

        Returns what ends the watch.
        """
