"""The ledger in a SQLite file."""

from budget_core.ledger.sqlite.ledger import SqliteLedger

__all__ = ["SqliteLedger"]
