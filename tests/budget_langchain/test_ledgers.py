"""The last word and agents' limits on every ledger: a child's account is not its session's id."""

import pytest

from budget_core import AgentBudget, BudgetExhausted
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

pytestmark = pytest.mark.usefixtures("ledger_url")
GO = {"messages": [("user", "go")]}


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("on_exhausted", ["finalize", "raise"])
def test_a_child_session_ends_as_the_limit_says(eager, gpt, researcher, square, k, on_exhausted):
    parent = AgentBudget("$1", parent=None).session()
    child = parent.child_session(0.01 * k, finalization_reserve="$0.005")
    callback = LangChainBudgetCallback(session=child)
    agent = researcher(gpt(max_tokens=200), BudgetMiddleware(callback, on_exhausted=on_exhausted))
    if on_exhausted == "finalize":
        assert agent.invoke(GO)["messages"][-1].text == "the end"
        assert child.finalized
    else:
        with pytest.raises(BudgetExhausted) as caught:
            agent.invoke(GO)
        assert child.owns(caught.value)
    square(child)
    child.close()  # which gives its reserve back
    square(parent)
