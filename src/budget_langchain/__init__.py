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

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'budget_langchain' has no attribute {name!r}")
    try:
        module = import_module(f"budget_langchain.{home}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"langchain", "langchain_core", "langgraph"}:
            raise
        raise ImportError(
            f"budget_langchain.{name} needs {missing}: pip install 'budget-suite[langchain]'"
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
