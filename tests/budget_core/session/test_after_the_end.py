"""A session that ended pays for nothing more, not even for a child or for what is free."""

import pytest

from budget_core import AgentBudget, BudgetExhausted, SessionCancelled, SessionFinalized

ENDS = {
    "cancel": (lambda session: session.cancel(), SessionCancelled),
    "conclude": (lambda session: session.conclude(), SessionFinalized),
    "close": (lambda session: session.close(), BudgetExhausted),
}


@pytest.fixture(params=ENDS)
def ended(request):
    end, error = ENDS[request.param]

    def close(session):
        end(session)
        return error

    return close


@pytest.mark.parametrize("limit", ["$5", None])
@pytest.mark.parametrize("cost", [0, 0.01, 9])
def test_any_cost_is_too_much(ended, limit, cost):
    session = AgentBudget(limit).session()
    assert not session.would_exceed(0)
    ended(session)
    assert session.would_exceed(cost)


@pytest.mark.parametrize("limit", ["$5", None])
@pytest.mark.parametrize(
    "options", [{}, {"max_spend": "$1"}, {"max_spend": "$1", "allocate": True}]
)
def test_no_child_is_opened(ended, limit, options):
    session = AgentBudget(limit).session()
    error = ended(session)
    with pytest.raises(error):
        session.child_session(**options)
    assert session.children() == ()


def test_nor_a_grandchild():
    session = AgentBudget("$5").session()
    child = session.child_session("$1")
    session.cancel()
    assert child.would_exceed(0)
    with pytest.raises(SessionCancelled):
        child.child_session()


def test_nor_inside_a_block_of_an_account_above():
    session = AgentBudget("$5").session()
    session.cancel()
    with session, pytest.raises(SessionCancelled):
        AgentBudget("$1").session()


def test_what_is_overdrawn_has_nothing_for_free():
    session = AgentBudget("$1").session()
    with pytest.raises(BudgetExhausted):
        session.track(cost=2)
    assert session.would_exceed(0)
    session.top_up("$2")
    assert not session.would_exceed(0)


def test_what_is_spent_to_the_last_cent_has_what_is_free():
    session = AgentBudget("$1").session()
    session.track(cost=1)
    assert not session.would_exceed(0)
    session.child_session()
