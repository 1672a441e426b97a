"""A collector of events for one's own machines: ``budget collect``.

``POST /v1/ingest`` takes what watched clients and quota watches report, in this package's shape and
in those of two other libraries, and charges what was spent to accounts of a ledger.
``GET /v1/budget-check`` tells whether a session or its team has spent its budget.

Needs ``pip install 'budget-suite[collector]'``.
"""

from budget_cli.collector.app import build_app

__all__ = ["build_app"]
