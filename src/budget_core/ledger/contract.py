"""The ledger's contract: what every backend does, and the records it answers with."""

from __future__ import annotations

import itertools
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from budget_core.money.limits import (
    UNITS,
    UNLIMITED,
    ZERO,
    Amounts,
    Limit,
    Limits,
    Unit,
    format_amount,
)
from budget_core.runtime.forks import in_child

State: TypeAlias = Literal["open", "finalized", "cancelled", "closed"]
Lasts: TypeAlias = Literal["run", "name", "standing"]
OnExpiry: TypeAlias = Literal["charge", "release"]
Kind: TypeAlias = Literal["commit", "release", "charge", "expire"]


@dataclass(frozen=True, slots=True)
class Account:
    """A node of the budget tree, as it is opened.

    Attributes:
        reserve: kept back for the account's last call, and set aside in every ancestor.
        allocated: the whole limit is set aside in every ancestor, so that siblings cannot
            drain it, instead of only capping this account.
        lasts: how long it is kept where accounts outlive the process: for this "run" only (nobody
            can name it again), by its "name", or "standing" open until somebody closes it.
    """

    id: str
    parent: str | None = None
    limits: Limits = UNLIMITED
    reserve: Amounts = ZERO
    allocated: bool = False
    lasts: Lasts = field(default="name", compare=False)

    def limits_vector(self) -> Amounts:
        """Return the life-long limits as amounts, 0 where there is none."""
        return Amounts(*(self.limits.lifelong(unit) or 0 for unit in UNITS))


class Headroom(NamedTuple):
    """How much of each unit a reserve could get now; None where nothing limits it."""

    usd: int | None
    tokens: int | None
    llm_calls: int | None
    tool_calls: int | None


class Hold(NamedTuple):
    """Money set aside for one call, through every account on the way to the root."""

    id: str
    accounts: tuple[str, ...]
    amounts: Amounts


class Denial(NamedTuple):
    """Why a reserve was refused: nothing was changed. Amounts are in `unit`, nanos for usd.

    `limit` leaves out what is kept back for last calls. `period` is that of a windowed limit, as
    it is written: "day", "rolling hour". `retry_after` is in seconds, None if waiting is no use.
    """

    account: str
    unit: Unit
    limit: int
    spent: int
    reserved: int
    requested: int
    state: State = "open"
    retry_after: float | None = None
    period: str | None = None

    @property
    def remaining(self) -> int:
        """What the account could still give."""
        return max(0, self.limit - self.spent - self.reserved)


class Entry(NamedTuple):
    """The immutable record of what a hold or a charge came to.

    Attributes:
        path: every account that it went through, the named ones and all their ancestors.
        after: what each account of `path` had spent when this was recorded.
        over: the first account of `path` that this brought beyond what ordinary calls may
            spend, with the figures; None if there is none.
        late: recorded after the hold had ended or was lost; nothing had been held for it.
        asked: what a late call came to in all, where its expiry had charged a part of that
            already: `amounts` is only the rest. Else None.
        time: when it was recorded, in seconds since 1970, by the backend's clock.
    """

    id: str
    kind: Kind
    accounts: tuple[str, ...]
    path: tuple[str, ...]
    held: Amounts
    amounts: Amounts
    after: tuple[Amounts, ...] = ()
    over: Denial | None = None
    late: bool = False
    asked: Amounts | None = None
    time: float = 0.0


class WindowBalance(NamedTuple):
    """How much of a limit per period is spent and held in the window that is on."""

    limit: Limit
    spent: int
    reserved: int


class LiveHoldView(NamedTuple):
    """A hold that has not ended, for those who look on.

    Attributes:
        age: seconds since it was made.
        expires_in: seconds until it expires unless its process lives on; None for never.
    """

    hold: Hold
    age: float
    owner: str
    expires_in: float | None


class Balance(NamedTuple):
    """An account's standing. `reserved` is what live holds and set-asides take."""

    account: str
    limits: Limits
    reserve: Amounts
    spent: Amounts
    reserved: Amounts
    state: State = "open"
    windows: tuple[WindowBalance, ...] = ()

    def remaining(self, unit: Unit = "usd") -> int | None:
        """Return what is left of the life-long limit, holds deducted; None if there is none."""
        limit = self.limits.lifelong(unit)
        at = UNITS.index(unit)
        return None if limit is None else max(0, limit - self.spent[at] - self.reserved[at])

    def overage(self, unit: Unit = "usd") -> int:
        """Return by how much more was spent than the life-long limit allows."""
        limit = self.limits.lifelong(unit)
        return 0 if limit is None else max(0, self.spent[UNITS.index(unit)] - limit)


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
    """Accounts outlive the process: whoever opens one by its name goes on with it."""
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
                set, or with another parent or allocation.
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
        """Record what was spent without a hold. Never refuses."""

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
        """Close an account that nobody can name any more; its records may be dropped."""

    @abstractmethod
    def entries(self, account: str | None = None) -> Iterator[Entry]:
        """Return the records, oldest first, as far back as the backend keeps them."""

    @abstractmethod
    def verify(self) -> list[str]:
        """Replay the records against the balances; return what does not agree, or nothing."""

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
        """Tell whether an LLM call holds money of `account`, other than those named."""

    def go_on_without(self, account: str) -> None:  # noqa: B027  most ledgers are never away
        """Let calls of `account` go on while the ledger does not answer, if it ever does not."""

    @abstractmethod
    def watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback`, from any thread, whenever money may have become free.

        Returns what ends the watch.
        """


def conflict(known: Account, asked: Account, *, update: bool) -> str:
    """Return the message for an account that exists in another form."""
    pairs = list(zip(_terms(known), _terms(asked), strict=True))
    had, wanted = zip(*(pair for pair in pairs if pair[0] != pair[1]), strict=True)
    advice = "" if update else ", or pass update=True to replace limits and reserve"
    return (
        f"Account {asked.id!r} was opened with {', '.join(had)}, and cannot be opened again with "
        f"{', '.join(wanted)}. Use another name, or what it was opened with{advice}."
    )


def _terms(account: Account) -> tuple[str, ...]:
    reserve = [
        format_amount(unit, amount)
        for unit, amount in zip(UNITS, account.reserve, strict=True)
        if amount
    ]
    return (
        " and ".join(map(str, account.limits.every)) or "no limit",
        f"{' and '.join(reserve) or 'nothing'} kept back",
        f"parent {account.parent!r}" if account.parent is not None else "no parent",
        "an allocation" if account.allocated else "no allocation",
    )


def _fresh() -> None:
    global _prefix, _numbers
    _prefix, _numbers = uuid.uuid4().hex[:16], itertools.count(1)


_prefix: str
_numbers: itertools.count[int]
_fresh()
in_child(_fresh)


def new_id() -> str:
    """Return an id that no other call in any process has (uuid4 prefix of the process + count)."""
    return f"{_prefix}-{next(_numbers)}"


def number_of(key: str) -> int:
    """Return how many ids this process had made when it made this one; 0 if it is not its own."""
    prefix, _, number = key.rpartition("-")
    return int(number) if prefix == _prefix else 0
