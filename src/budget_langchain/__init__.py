"""Hard spending limits for LangChain and LangGraph.

>>> from budget_langchain import LangChainBudgetCallback
>>> with LangChainBudgetCallback("$5.00", tool_costs={"web_search": 0.01}) as budget:
...     ...  # agent.invoke(...), model.stream(...), graph.ainvoke(...): held before, settled after
>>> budget.get_report()["total_spent"]
0.0

======================== ====================================================================
`LangChainBudgetCallback` guards every model and tool, in every way of running
`BudgetMiddleware`        lets an agent of ``create_agent`` wait for money, and finish its answer
`BudgetedEmbeddings`      guards an embedding model, which LangChain has no callbacks for
======================== ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

if TYPE_CHECKING:
    from budget_langchain.callback import LangChainBudgetCallback
    from budget_langchain.embeddings import BudgetedEmbeddings
    from budget_langchain.middleware import BudgetMiddleware

_HOME = {
    "BudgetMiddleware": "middleware",
    "BudgetedEmbeddings": "embeddings",
    "LangChainBudgetCallback": "callback",
}

__all__ = ["BudgetMiddleware", "BudgetedEmbeddings", "LangChainBudgetCallback"]


__getattr__, __dir__ = lazy(
    __name__, _HOME, needs=("langchain", "langchain_core", "langgraph"), extra="langchain"
)
