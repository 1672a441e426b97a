"""Where money is kept: one contract (`Ledger`), one file a backend."""

from budget_core.ledger.contract import Ledger
from budget_core.ledger.ids import new_id
from budget_core.ledger.memory import MemoryLedger
from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    Lasts,
    LiveHoldView,
    State,
    WindowBalance,
)
from budget_core.ledger.resolve import ledger_from

__all__ = [
    "Account",
    "Balance",
    "Denial",
    "Entry",
    "Headroom",
    "Hold",
    "Lasts",
    "Ledger",
    "LiveHoldView",
    "MemoryLedger",
    "State",
    "WindowBalance",
    "ledger_from",
    "new_id",
]
