"""Which agents a middleware is a part of: a mark in the state of their graphs, which stays empty.

A middleware is asked around the agent's own calls alone. Models that other middlewares ask run in
nodes of the same graph, where its marks can be seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypedDict, TypeVar, get_type_hints
from weakref import WeakValueDictionary

from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.runnables.config import var_child_runnable_config

T = TypeVar("T")
_PREFIX: Final = "budget_"
_READ: Final = "__pregel_read"
"""Where LangGraph gives a node what reads the graph's state."""


class Marks(WeakValueDictionary[str, T]):
    """Marks of objects in the state of graphs."""

    def mark(self, one: T, schema: type) -> Any:
        """Return a schema like the one given, with a mark of an object in it."""
        name = f"{_PREFIX}{uuid.uuid4().hex}"
        self[name] = one
        known = get_type_hints(schema, include_extras=True)
        marked = {**known, name: Annotated[bool, PrivateStateAttr]}
        make: Any = TypedDict
        return make("BudgetState", marked, total=False)

    def here(self) -> list[T]:
        """Return the objects whose marks are in the graph in whose node this runs."""
        config: Mapping[str, Any] = var_child_runnable_config.get() or {}
        read = (config.get("configurable") or {}).get(_READ)
        parts = [part for part in getattr(read, "args", ()) if isinstance(part, Mapping)]
        names = (name for part in parts for name in part if name.startswith(_PREFIX))
        return [one for name in names if (one := self.get(name)) is not None]
