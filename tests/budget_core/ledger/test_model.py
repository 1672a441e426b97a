"""Any sequence of operations against a small model of a tree of budgets, on every ledger."""

import random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.budget_core.ledger.conftest import sqlite_store

from budget_core.ledger import Account, Denial, MemoryLedger, new_id
from budget_core.ledger.sqlite import ledger as sqlite
from budget_core.ledger.sqlite import oplog
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits


class Node:
    """An account of the model: it knows what it is, and works out the rest from the holds."""

    def __init__(self, parent, limit, reserve, allocated):
        self.parent, self.limit, self.reserve = parent, limit, reserve
        self.allocated = allocated and parent is not None
        self.kept, self.spent, self.unheld = reserve, 0, 0
        self.state = "open"
        self.aside = 0

    def path(self):
        return [self, *(self.parent.path() if self.parent else [])]


class Model:
    def __init__(self):
        self.nodes = {}
        self.holds = {}  # id -> (names, amount, final)

    # -- what there is -----------------------------------------------------------------------

    def above(self, node):
        """The accounts that hold what is set aside for `node`: up to the next allocation."""
        found = []
        for each in node.path()[1:]:
            found.append(each)
            if each.allocated:
                break
        return found

    def holders(self, names):
        found = {}
        for name in sorted(names):
            node = self.nodes[name]
            found.update(dict.fromkeys([node, *([] if node.allocated else self.above(node))]))
        return list(found)

    def payers(self, names):
        return list(dict.fromkeys(n for name in sorted(names) for n in self.nodes[name].path()))

    def part(self, node, amount, final, aside=None):
        if final is not None and node in self.nodes[final].path()[1:]:
            return max(0, amount - (self.nodes[final].aside if aside is None else aside))
        return amount

    def reserved(self, node):
        total = sum(
            self.part(node, amount, final, aside)
            for names, amount, final, aside in self.holds.values()
            if node in self.holders(names)
        )
        return total + sum(n.aside for n in self.nodes.values() if node in self.above(n))

    def fits(self, node, want, *, final=False):
        if node.limit is None:
            return True
        if node.spent > node.limit:
            return False
        room = node.limit - (0 if final else node.kept) - node.spent - self.reserved(node)
        return not want or want <= room

    def live_final(self, name):
        return any(hold[2] == name for hold in self.holds.values())

    # -- what can be done: answers are True, or the name of who refuses -----------------------

    def blocked(self, names, amount, final):
        for node in self.payers(names):
            if node.state != "open":
                return node
        if final is not None and self.live_final(final):
            return self.nodes[final]
        for node in self.holders(names):
            last = final is not None and node is self.nodes[final]
            if not self.fits(node, self.part(node, amount, final), final=last):
                return node
        return None

    def spend(self, names, amount, held):
        for node in self.payers(names):
            node.spent += amount
            node.unheld += max(0, amount - held)
            if node.allocated:
                node.aside = max(0, node.aside - amount)

    def give_back(self):
        """Ended accounts set aside nothing but, in an allocation, what is still held in it."""
        for name, node in sorted(self.nodes.items(), key=lambda item: -len(item[1].path())):
            if node.state != "open" and not self.live_final(name):
                node.aside = min(node.aside, self.reserved(node) if node.allocated else 0)

    def end(self, name, state):
        self.nodes[name].state, self.nodes[name].kept = state, 0
        self.give_back()


AMOUNT = st.integers(0, 12)


class Ledgers(RuleBasedStateMachine):
    make = MemoryLedger

    def teardown(self):
        if hasattr(self, "ledger") and hasattr(self.ledger, "close_connection"):
            self.ledger.close_connection()

    @initialize(limit=st.integers(10, 60), reserve=st.integers(0, 5))
    def begin(self, limit, reserve):
        self.ledger, self.model, self.count = self.make(), Model(), 0
        self.open_account(None, limit, reserve, allocated=False)

    def open_account(self, parent, limit, reserve, *, allocated):
        name = f"n{self.count}"
        self.count += 1
        limits = Limits(() if limit is None else (Limit("usd", limit),))
        above = self.model.nodes[parent] if parent else None
        node = Node(above, limit, min(reserve, limit if limit is not None else reserve), allocated)
        if limit is None:
            node.allocated = False
        answer = self.ledger.open(
            Account(name, parent, limits, Amounts(node.reserve), allocated=node.allocated)
        )
        aside = node.limit if node.allocated else node.reserve
        tight = [n for n in self.model.above(node) if aside and not self.model.fits(n, aside)]
        if tight:
            assert isinstance(answer, Denial)
            assert self.model.nodes[answer.account] is tight[0]
            return
        assert not isinstance(answer, Denial), answer
        node.aside = aside if above else 0
        self.model.nodes[name] = node

    def pick(self, data, many=1):
        names = st.sampled_from(sorted(self.model.nodes))
        return data.draw(st.lists(names, min_size=1, max_size=many, unique=True))

    def answered(self, answer, blocked):
        if blocked is None:
            assert not isinstance(answer, Denial), answer
        else:
            assert isinstance(answer, Denial), answer
            assert self.model.nodes[answer.account] is blocked

    @precondition(lambda self: len(self.model.nodes) < 7)
    @rule(
        data=st.data(),
        limit=st.none() | st.integers(0, 30),
        reserve=st.integers(0, 6),
        allocated=st.booleans(),
    )
    def open(self, data, limit, reserve, allocated):
        self.open_account(self.pick(data)[0], limit, reserve, allocated=allocated)

    @rule(data=st.data(), amount=AMOUNT)
    def reserve(self, data, amount):
        names, hold = self.pick(data, 3), new_id()
        blocked = self.model.blocked(names, amount, None)
        self.answered(self.ledger.reserve(hold, names, Amounts(amount)), blocked)
        if blocked is None:
            self.model.holds[hold] = (tuple(names), amount, None, 0)

    @rule(data=st.data(), amount=AMOUNT)
    def reserve_the_last(self, data, amount):
        names, hold = self.pick(data), new_id()
        final = names[0]
        blocked = self.model.blocked(names, amount, final)
        self.answered(self.ledger.reserve(hold, names, Amounts(amount), final=final), blocked)
        if blocked is None:
            aside = self.model.nodes[final].aside
            self.model.holds[hold] = (tuple(names), amount, final, aside)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), amount=AMOUNT)
    def extend(self, data, amount):
        hold = data.draw(st.sampled_from(sorted(self.model.holds)))
        joining = self.pick(data, 2) if data.draw(st.booleans()) else []
        before = self.model.holds.pop(hold)
        names, had, final, _ = before
        union = tuple(dict.fromkeys((*names, *joining)))
        blocked = self.model.blocked(union, amount, final)
        if amount <= had and len(union) == len(names):
            cancelled = [n for n in self.model.payers(names) if n.state == "cancelled"]
            blocked = blocked if cancelled else None
        answer = self.ledger.extend(hold, Amounts(amount), joining)
        self.answered(answer, blocked)
        aside = self.model.nodes[final].aside if final else 0
        self.model.holds[hold] = before if blocked else (union, amount, final, aside)
        self.model.give_back()

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), amount=AMOUNT)
    def commit(self, data, amount):
        hold = data.draw(st.sampled_from(sorted(self.model.holds)))
        names, had, final, _ = self.model.holds.pop(hold)
        entry = self.ledger.commit(hold, Amounts(amount), names)
        assert not entry.late
        self.model.spend(names, amount, had)
        if final and self.model.nodes[final].state == "open":
            self.model.end(final, "finalized")
        self.model.give_back()
        assert self.ledger.commit(hold, Amounts(amount), names) == entry

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), late=st.none() | AMOUNT)
    def release(self, data, late):
        hold = data.draw(st.sampled_from(sorted(self.model.holds)))
        names, *_ = self.model.holds.pop(hold)
        self.ledger.release(hold)
        self.model.give_back()
        if late is not None:
            assert self.ledger.commit(hold, Amounts(late), names).late
            self.model.spend(names, late, 0)
            self.model.give_back()

    @rule(data=st.data(), amount=AMOUNT)
    def charge(self, data, amount):
        names = self.pick(data, 3)
        self.ledger.charge(new_id(), names, Amounts(amount))
        self.model.spend(names, amount, 0)
        self.model.give_back()

    @rule(data=st.data(), amount=st.integers(0, 10))
    def top_up(self, data, amount):
        (name,) = self.pick(data)
        node = self.model.nodes[name]
        if node.allocated:
            return  # has tests of its own: it may be refused
        self.ledger.top_up(name, Amounts(amount))
        node.limit = None if node.limit is None else node.limit + amount
        node.state = "open" if node.state == "finalized" else node.state

    @rule(data=st.data(), state=st.sampled_from(["closed", "closed", "cancelled"]))
    def close(self, data, state):
        (name,) = self.pick(data)
        self.ledger.close(name, state)
        self.model.end(name, state)

    @invariant()
    def agrees_with_the_model(self):
        if not hasattr(self, "model"):
            return
        for name, node in self.model.nodes.items():
            balance = self.ledger.balance(name)
            reserved = self.model.reserved(node)
            assert (name, balance.spent.usd) == (name, node.spent)
            assert (name, balance.reserved.usd) == (name, reserved)
            assert (name, balance.state) == (name, node.state)
            if node.limit is not None:
                assert node.spent + reserved <= node.limit + node.unheld
                assert balance.overage() == max(0, node.spent - node.limit)
        assert self.ledger.verify() == []


def check(make, examples=60):
    machine = type("Machine", (Ledgers,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_ledger_does_what_the_model_does(backend):
    check(backend, 100 if backend is MemoryLedger else 40)


class TakingTurns:
    """A file that several processes use: one goes on where another one has stopped."""

    def __init__(self):
        store = sqlite_store()
        self.ledgers = [store(), store(), store()]
        self.chance = random.Random(1)

    def close_connection(self):
        for ledger in self.ledgers:
            ledger.close_connection()

    def __getattr__(self, name):
        if self.chance.random() < 0.05:
            self.ledgers.append(self.ledgers.pop(0))
        return getattr(self.ledgers[0], name)


@pytest.mark.no_cover
def test_processes_that_take_turns_do_what_the_model_does(monkeypatch):
    monkeypatch.setattr(oplog, "MOST", 20)
    monkeypatch.setattr(sqlite, "uuid4", lambda: UUID(int=1))  # they open and close as one
    check(TakingTurns, 60)
