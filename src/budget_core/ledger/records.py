"""The records that a ledger takes and answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from budget_core.errors import InvalidBudget
from budget_core.money.amounts import UNITS, ZERO, Amounts, Unit, format_amount
from budget_core.money.limits import UNLIMITED, Limit, Limits

LONGEST_NAME: Final = 512
"""Bytes of UTF-8 that the name of an account may have."""

State: TypeAlias = Literal["open", "finalized", "cancelled", "closed"]


Lasts: TypeAlias = Literal["run", "name", "standing", "implied"]


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
            can name it again), by its "name", or "standing" open until it is closed.
            One that is "implied" stands, too, but was not declared: it is opened without
            terms, by what was spent in its name, and takes the first that it is opened with.

    Raises:
        InvalidBudget: its name cannot be encoded as UTF-8, or is longer than 512 bytes (one below
            its parent's name: its own part).
    """

    id: str
    parent: str | None = None
    limits: Limits = UNLIMITED
    reserve: Amounts = ZERO
    allocated: bool = False
    lasts: Lasts = field(default="name", compare=False)

    def __post_init__(self) -> None:
        own = self.id if self.parent is None else self.id.removeprefix(f"{self.parent}/")
        try:
            long = len(own.encode()) > LONGEST_NAME or len(self.id) > 16 * LONGEST_NAME
        except UnicodeEncodeError:
            raise InvalidBudget(f"{self.id[:40]!a} cannot be encoded: it is no name.") from None
        if long:
            raise InvalidBudget(
                f"A name may have {LONGEST_NAME} bytes; {self.id[:40]!a}… has more."
            )

    @property
    def stands(self) -> bool:
        """Return whether it stays open without a process that has it open."""
        return self.lasts in {"standing", "implied"}


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
            spend, with the figures; else, if this was charged without a hold, the first that has
            ended. None if there is none.
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
    """An account's standing: an amount of each unit, nanos for usd.

    Attributes:
        limits: as they are now, top-ups included.
        kept_back: for the account's own last call.
        reserved: what live holds and set-asides take.
    """

    account: str
    limits: Limits
    kept_back: Amounts
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


def conflict(known: Account, asked: Account, *, update: bool) -> str:
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
