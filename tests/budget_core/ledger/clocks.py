"""A clock that tests move."""

from budget_core.ledger.clock import Clock


class ShiftedClock(Clock):
    shift = 0.0

    def now(self):
        return super().now() + self.shift

    def uptime(self):
        return super().uptime() + self.shift


def shift(ledger, seconds):
    """Let `seconds` pass, or come back, by the ledger's clock."""
    if not isinstance(ledger.clock, ShiftedClock):
        ledger.clock = ShiftedClock()
    ledger.clock.shift += seconds
