"""What a collector charges is in every ledger what was reported."""

from budget_cli.collector.book import Book
from budget_cli.collector.shapes import Spend


def test_reports_are_charged_once(ledger):
    spends = [
        Spend("a", "s", "growth", 250_000_000, 15, "llm"),
        Spend("b", "s", None, 1_000_000, 0, "tool"),
    ]
    for _ in range(2):
        Book(ledger).charge(spends)
    assert ledger.balance("watched:s").spent == (251_000_000, 15, 1, 1)
    assert ledger.balance("team:growth").spent == (250_000_000, 15, 1, 0)
