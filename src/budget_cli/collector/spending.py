"""What sessions and teams have spent, as their clients report it: accounts of a ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from budget_cli.collector.payloads import Spend
from budget_core.errors import HoldConflict, LedgerUnavailable
from budget_core.ledger import Account, Ledger
from budget_core.money.amounts import Amounts
from budget_core.money.usd import to_usd

SESSION: Final = "watched:"
"""With which the accounts of sessions begin; those of teams are ``team:…``, as for clients."""
_MOST_KNOWN: Final = 100_000
_log = logging.getLogger("budget_core")


class Use(NamedTuple):
    """How much of one limit is used, in nanos; `limit` is None where there is none."""

    account: str
    spent: int
    limit: int | None

    @property
    def exceeded(self) -> bool:
        return self.limit is not None and self.spent >= self.limit


class Spending:
    """Charges what was reported, and tells what is left. Thread-safe.

    Args:
        ledger: may block.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: set[str] = set()

    @property
    def blocks(self) -> bool:
        return self._ledger.blocks

    def charge(self, spends: Iterable[Spend | None]) -> list[bool]:
        """Charge each to its session, and to its team; return which could be booked.

        Raises:
            LedgerUnavailable: the ledger does not answer; what was charged before stays charged,
                and is not charged again when it is sent again.
        """
        return [spend is None or self._booked(spend) for spend in spends]

    def _booked(self, spend: Spend) -> bool:
        accounts = [f"{SESSION}{spend.session_id}"]
        if spend.team is not None:
            accounts.append(f"team:{spend.team}")
        llm = spend.kind == "llm"
        amounts = Amounts(spend.cost, spend.tokens, int(llm), int(not llm))
        try:
            for account in accounts:
                self._ensure(account)
            with suppress(HoldConflict):  # sent again after its model got another price
                self._ledger.charge(spend.id, accounts, amounts)
        except LedgerUnavailable:
            raise
        except Exception:  # noqa: BLE001  whatever a ledger has against it: the others are booked
            _log.exception("An event could not be booked, and was rejected.")
            return False
        return True

    def standing(self, session_id: str, limit: int | None, team: str | None) -> dict[str, Any]:
        """Return how a session stands, or its team if that has spent its budget. JSON-ready.

        Args:
            session_id: whose client asks.
            limit: its own, in nanos.
            team: its team.
        """
        uses = list(self._uses(session_id, limit, team))
        use = next((use for use in uses if use.exceeded), uses[0])
        left = None if use.limit is None else max(0, use.limit - use.spent)
        return {
            "session_id": session_id,
            "account": use.account,
            "exceeded": use.exceeded,
            "spent_usd": to_usd(use.spent),
            "limit_usd": None if use.limit is None else to_usd(use.limit),
            "remaining_usd": None if left is None else to_usd(left),
        }

    def _uses(self, session_id: str, limit: int | None, team: str | None) -> Iterator[Use]:
        yield Use(session_id, self._spent(f"{SESSION}{session_id}"), limit)
        if team is None:
            return
        name = f"team:{team}"
        try:
            balance = self._ledger.balance(name)
        except KeyError:
            return
        used = balance.spent.usd + balance.reserved.usd
        yield Use(name, used, balance.limits.lifelong("usd"))
        for window in balance.windows:
            if window.limit.unit == "usd":
                yield Use(name, window.spent + window.reserved, window.limit.amount)

    def _spent(self, account: str) -> int:
        try:
            return self._ledger.balance(account).spent.usd
        except KeyError:
            return 0

    def _ensure(self, account: str) -> None:
        if account in self._open:
            return
        try:
            self._ledger.balance(account)
        except KeyError:
            self._ledger.open(Account(account, lasts="implied"))
        if len(self._open) >= _MOST_KNOWN:  # names come from outside
            self._open.clear()
        self._open.add(account)
