"""In which run of a graph something is asked, as the loop detector tells runs apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from langchain_core.runnables.config import var_child_runnable_config

if TYPE_CHECKING:
    from uuid import UUID

Place: TypeAlias = tuple[Hashable, ...]

_RUNTIME: Final = "__pregel_runtime"
"""Where LangGraph gives a node its runtime."""
_SENT: Final = "__pregel_push"
"""How the path of a task begins that a `Send` made."""
_MOST: Final = 10_000


class Places:
    """The places of runs that have begun and not ended.

    A place is the outermost run, and which of several tasks that were sent out at once. Two agents
    that hand over to each other stay in one place; twelve readers of one file are in twelve.
    """

    def __init__(self) -> None:
        self._places: dict[UUID, Place] = {}

    def begin(
        self, run_id: UUID, parent: UUID | None, metadata: Mapping[str, Any], name: str | None
    ) -> None:
        around = (run_id,) if parent is None else self._places.get(parent)
        if around is None:
            return  # it began before anybody listened
        path = metadata.get("langgraph_path") or ()
        if path and path[0] == _SENT and name == metadata.get("langgraph_node"):
            around = (*around, *map(str, path[1:]))
        self._places[run_id] = around
        if len(self._places) > _MOST:  # LangChain never told the end of some
            self.end(next(iter(self._places)))

    def end(self, run_id: UUID) -> None:
        self._places.pop(run_id, None)

    def of(self, parent: UUID | None, metadata: Mapping[str, Any]) -> Hashable:
        """Return the place in a graph of what is asked inside `parent`; None outside of graphs."""
        if "langgraph_node" not in metadata:
            return None
        place = self._places.get(parent) if parent is not None else None
        return place or run_here()


def run_here() -> Hashable:
    """Return the run of the graph in whose node this runs; None outside of graphs."""
    config: Mapping[str, Any] = var_child_runnable_config.get() or {}
    said = config.get("configurable") or {}
    if (runtime := said.get(_RUNTIME)) is None:
        return None
    graph, _, _ = str(said.get("checkpoint_ns") or "").rpartition("|")
    return getattr(runtime, "control", None), graph
