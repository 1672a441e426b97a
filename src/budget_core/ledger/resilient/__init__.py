"""A ledger that may be away: what was left of it, and what it is owed."""
