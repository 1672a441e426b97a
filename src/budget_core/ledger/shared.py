"""Accounts that stand in a ledger by their names, for all who spend in their name."""

from __future__ import annotations

from budget_core.ledger.contract import Ledger
from budget_core.ledger.records import Account, Balance
from budget_core.money.limits import Limits


class SharedAccount:
    """An account that is opened once and never closed; its limits are what was said last."""

    def __init__(self, ledger: Ledger, name: str, limits: Limits) -> None:
        self._ledger = ledger
        self._name = name
        ledger.open(Account(name, None, limits, lasts="standing"), update=True)

    def balance(self) -> Balance:
        return self._ledger.balance(self._name)


def is_open(ledger: Ledger, name: str) -> bool:
    """Return whether a ledger knows an account."""
    try:
        ledger.balance(name)
    except KeyError:
        return False
    return True
