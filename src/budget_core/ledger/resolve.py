"""From what a user names a ledger by to the ledger."""

from __future__ import annotations

from budget_core import hooks
from budget_core.errors import InvalidBudget
from budget_core.ledger.base import Ledger
from budget_core.ledger.memory import MemoryLedger


def ledger_from(value: Ledger | str | None) -> Ledger:
    """Return the ledger for an object, a URL, or None (a fresh one in memory).

    Raises:
        InvalidBudget: no ledger knows the URL's scheme.
    """
    if isinstance(value, Ledger):
        return value
    if value is None or value == "memory://":
        return MemoryLedger()
    ledger = hooks.first("budget_ledger", hooks.LedgerRequest(value))
    if isinstance(ledger, Ledger):
        return ledger
    raise InvalidBudget(
        f"No ledger for {value!r}. Known: 'memory://', a Ledger object, and what plugins add "
        "(hook budget_ledger)."
    )
