"""The error of LangGraph that lets one of ours through, where others are handled or retried."""

from __future__ import annotations

from functools import cache


@cache
def bubble() -> type[BaseException] | None:
    """Return LangGraph's control-flow exception, which none of its error handlers swallows.

    None where LangGraph is not installed.
    """
    try:
        from langgraph.errors import GraphBubbleUp  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return GraphBubbleUp
