"""Limits per period against a naive oracle, while time passes, on every ledger."""

from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.budget_core.ledger.conftest import BACKENDS, sqlite_store

from budget_core.ledger import Account, Denial, Hold, new_id
from budget_core.ledger.clock import Clock
from budget_core.ledger.sqlite import ledger as sqlite
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits

SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400}
MOMENT = 1_930_000_000
PATHS = {"root": ["root"], "a": ["a", "root"], "b": ["b", "root"]}


class StillClock(Clock):
    moment = float(MOMENT)

    def now(self):
        return self.moment

    uptime = now


class Oracle:
    """All that was ever held and spent, each with the moment at which it was begun."""

    def __init__(self, limits):
        self.limits, self.spent, self.live = limits, [], {}

    def used(self, account, now):
        period = SECONDS[self.limits[account].period]
        here = [each for each in self.spent if account in PATHS[each[0]]]
        held = [each for each in self.live.values() if account in PATHS[each[0]]]
        return tuple(
            sum(amount for _, at, amount in some if at // period == now // period)
            for some in (here, held)
        )

    def refuses(self, name, want, now):
        for account in PATHS[name]:
            spent, held = self.used(account, now)
            limit = self.limits[account].amount
            if (want and spent + held + want > limit) or spent > limit:
                return account
        return None


class Windows(RuleBasedStateMachine):
    make = None

    def teardown(self):
        if hasattr(self, "ledger"):
            assert self.ledger.verify() == []
            if hasattr(self.ledger, "close_connection"):
                self.ledger.close_connection()

    @initialize(
        periods=st.lists(st.sampled_from(sorted(SECONDS)), min_size=3, max_size=3),
        amounts=st.lists(st.integers(3, 20), min_size=3, max_size=3),
    )
    def begin(self, periods, amounts):
        self.clock, self.ledger = StillClock(), self.make()
        self.ledger.clock = self.clock
        limits = {
            name: Limit("usd", amount, period)
            for name, amount, period in zip(PATHS, amounts, periods, strict=True)
        }
        self.oracle = Oracle(limits)
        for name, limit in limits.items():
            parent = "root" if name != "root" else None
            self.ledger.open(Account(name, parent, Limits((limit,))))

    @rule(seconds=st.sampled_from([1, 20, 61, 1_000, 3_601, 50_000, 90_000]))
    def time_passes(self, seconds):
        self.clock.moment += seconds

    @rule(name=st.sampled_from(sorted(PATHS)), amount=st.integers(0, 8))
    def charge(self, name, amount):
        now = self.clock.moment
        entry = self.ledger.charge(new_id(), [name], Amounts(amount))
        self.oracle.spent.append((name, now, amount))
        over = [
            account
            for account in PATHS[name]
            if self.oracle.used(account, now)[0] > self.oracle.limits[account].amount
        ]
        assert (entry.over.account if entry.over else None) == (over[0] if over else None)

    @rule(name=st.sampled_from(sorted(PATHS)), amount=st.integers(0, 8))
    def reserve(self, name, amount):
        now, hold = self.clock.moment, new_id()
        refused = self.oracle.refuses(name, amount, now)
        answer = self.ledger.reserve(hold, [name], Amounts(amount))
        if refused is None:
            assert isinstance(answer, Hold), answer
            self.oracle.live[hold] = (name, now, amount)
            return
        assert isinstance(answer, Denial), answer
        assert answer.account == refused
        period, fits = SECONDS[self.oracle.limits[refused].period], amount
        if fits <= answer.limit:
            assert answer.retry_after == period - now % period

    @precondition(lambda self: self.oracle.live)
    @rule(data=st.data(), amount=st.integers(0, 8), released=st.booleans())
    def end(self, data, amount, released):
        hold = data.draw(st.sampled_from(sorted(self.oracle.live)))
        name, at, _ = self.oracle.live.pop(hold)
        if released:
            self.ledger.release(hold)
        else:
            self.ledger.commit(hold, Amounts(amount), [name])
            self.oracle.spent.append((name, at, amount))

    @rule()
    def looked_at(self):
        for name in PATHS:
            (window,) = self.ledger.balance(name).windows
            assert window[1:] == self.oracle.used(name, self.clock.moment)


def check(make, examples):
    machine = type("Machine", (Windows,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_ledger_counts_what_the_oracle_counts(backend):
    check(backend, 200 if backend is BACKENDS["memory"] else 40)


class TwoProcesses:
    """A file that two processes use in turns."""

    def __init__(self):
        store = sqlite_store()
        self.ledgers = [store(), store()]

    def __setattr__(self, name, value):
        if name == "clock":
            for ledger in self.ledgers:
                ledger.clock = value
        super().__setattr__(name, value)

    def close_connection(self):
        for ledger in self.ledgers:
            ledger.close_connection()

    def __getattr__(self, name):
        self.ledgers.reverse()
        return getattr(self.ledgers[0], name)


@pytest.mark.no_cover
def test_processes_in_turns_count_what_the_oracle_counts(monkeypatch):
    monkeypatch.setattr(sqlite, "uuid4", lambda: UUID(int=1))  # neither is dead for the other
    check(TwoProcesses, 40)
