from decimal import Decimal

import pytest

from budget_core import (
    AccountConflict,
    AgentBudget,
    AsyncBudgetSession,
    BudgetExhausted,
    BudgetSession,
    InvalidBudget,
    Limit,
    MemoryLedger,
)


@pytest.mark.parametrize("five", ["$5.00", "5", 5, 5.0, Decimal(5), Limit("usd", 5_000_000_000)])
def test_every_way_to_write_five_dollars(five):
    budget = AgentBudget(five)
    assert budget.max_spend == 5.0
    assert budget.session().limit == 5.0


def test_without_an_amount_dollars_are_unlimited():
    budget = AgentBudget(tokens=10)
    session = budget.session()
    assert (budget.max_spend, session.limit, session.remaining) == (None, None, None)
    assert not session.would_exceed(10**6)
    session.track(cost=1_000)
    assert session.spent == 1_000


def test_it_shows_its_limits():
    assert repr(AgentBudget("$5", tokens=10)) == "AgentBudget($5.00, 10 tokens)"
    assert repr(AgentBudget()) == "AgentBudget(unlimited)"


def test_what_makes_no_sense_is_refused_where_it_is_written():
    with pytest.raises(InvalidBudget):
        AgentBudget("five")
    with pytest.raises(InvalidBudget):
        AgentBudget("$5", soft_limit=2)
    with pytest.raises(InvalidBudget):
        AgentBudget("$5", ledger="nosuch://")


def test_sessions_have_each_a_whole_budget():
    budget = AgentBudget("$1")
    one, other = budget.session(), budget.session()
    one.track(cost=1)
    assert (one.remaining, other.remaining) == (0, 1)
    assert one.ledger is other.ledger
    assert one.id != other.id


class TestNames:
    def test_the_same_name_goes_on_where_it_left_off(self):
        budget = AgentBudget("$1")
        with budget.session("thread-42") as session:
            session.track(cost="0.6")
        with budget.session("thread-42") as session:
            assert session.remaining == 0.4
            session.track(cost="0.4")
            with pytest.raises(BudgetExhausted):
                session.track(cost="0.1")

    def test_the_same_name_twice_at_once_is_one_account(self):
        budget = AgentBudget("$1")
        one, other = budget.session("a"), budget.session("a")
        one.track(cost="0.6")
        assert other.remaining == 0.4

    def test_the_same_name_with_another_limit_is_a_conflict(self):
        ledger = MemoryLedger()
        AgentBudget("$1", ledger=ledger).session("a")
        with pytest.raises(AccountConflict, match="'a'"):
            AgentBudget("$2", ledger=ledger).session("a")

    def test_a_cancelled_name_stays_cancelled(self):
        budget = AgentBudget("$1")
        budget.session("a").cancel()
        with budget.session("a") as session, pytest.raises(BudgetExhausted):
            session.open_call(call())


def call(cost=0):
    from budget_core import CallRequest

    return CallRequest(kind="tool", name="t", cost=cost)


class TestParents:
    def test_a_budget_opened_inside_a_session_is_its_child(self):
        with AgentBudget("$1").session() as outer:
            inner = AgentBudget("$5").session()
            assert inner.parent is outer
            inner.track(cost="0.6")
            assert outer.spent == 0.6
            with pytest.raises(BudgetExhausted) as caught:
                inner.open_call(call(500_000_000))
        assert caught.value.account == outer.id

    def test_but_not_after_it(self):
        with AgentBudget("$1").session():
            pass
        assert AgentBudget("$5").session().parent is None

    def test_nor_where_that_is_not_wanted(self):
        with AgentBudget("$1").session() as outer:
            AgentBudget("$5", parent=None).session().track(cost=2)
            assert outer.spent == 0

    def test_a_parent_may_be_named(self):
        parent = AgentBudget("$1").session()
        inner = AgentBudget("$5", parent=parent).session()
        inner.track(cost="0.5")
        assert parent.spent == 0.5

    def test_a_child_in_another_ledger_spends_its_parents_money_too(self):
        parent = AgentBudget("$1").session("p")
        child = AgentBudget("$5", parent=parent, ledger="memory://").session()
        assert child.ledger is not parent.ledger
        held = child.open_call(call(600_000_000))
        assert parent.reserved == child.reserved == 0.6
        with pytest.raises(BudgetExhausted) as caught:
            child.open_call(call(500_000_000))
        assert caught.value.account == "p"
        held.settle()
        assert parent.spent == child.spent == 0.6
        assert parent.report()["breakdown"]["tools"]["calls"] == 1

    def test_a_grandparent_in_the_same_ledger_is_not_left_out(self):
        ledger = MemoryLedger()
        top = AgentBudget("$1", ledger=ledger).session()
        middle = AgentBudget("$5", parent=top, ledger="memory://").session()
        leaf = AgentBudget("$5", parent=middle, ledger=ledger).session()
        leaf.track(cost="0.5")
        assert (leaf.spent, middle.spent, top.spent) == (0.5, 0.5, 0.5)


class TestKindsOfSessions:
    async def test_async_with(self):
        async with AgentBudget("$1").async_session("a") as session:
            assert isinstance(session, AsyncBudgetSession)
            session.track(cost="0.1")
            assert AgentBudget("$1").session().parent is session
        assert session.balance().state == "closed"
        assert AsyncBudgetSession is BudgetSession

    def test_settings_may_differ_for_one_session(self):
        session = AgentBudget("$1", soft_limit=0.5).session(mode="observe")
        assert (session.policy.mode, session.policy.soft_limit) == ("observe", 0.5)
        with pytest.raises(InvalidBudget):
            AgentBudget("$1").session(mode="dream")
        with pytest.raises(TypeError):
            AgentBudget("$1").session(nosuch=1)
