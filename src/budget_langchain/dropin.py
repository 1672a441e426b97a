"""The plugin for LangChain: drop-in mode, and reading the usage of results.

In sessions of `budget_core.init` agents have their limits, and tools are counted. Imports nothing
of LangChain until the program does.
"""

from __future__ import annotations

from collections.abc import Callable

from budget_core.frameworks import join
from budget_core.hooks import DropinRequest, hookimpl
from budget_langchain.outcomes import budget_usage


@hookimpl
def budget_dropin(request: DropinRequest) -> Callable[[], object] | None:
    adapter = "budget_langchain.callback:LangChainBudgetCallback"
    return join(request, framework="langchain_core", adapter=adapter)


__all__ = ["budget_dropin", "budget_usage"]
