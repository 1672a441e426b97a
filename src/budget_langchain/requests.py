"""From LangChain's start events to `CallRequest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from budget_core import CallRequest
from budget_core.calls.prompt import unbounded_in
from budget_core.frameworks.parameters import answers, own_cap
from budget_core.money.usage import tier_of
from budget_langchain.messages import fingerprint_of, prompt_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_INNER_NODES: Final = frozenset({"model", "tools", "agent"})
"""Nodes that every agent has: their names tell nothing of who calls."""


@cache
def bubble() -> type[BaseException] | None:
    """Return LangGraph's control-flow exception, which none of its error handlers swallows."""
    try:
        from langgraph.errors import GraphBubbleUp  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return GraphBubbleUp


def model_request(
    messages: Sequence[BaseMessage | str],
    *,
    serialized: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
    params: Mapping[str, Any],
) -> CallRequest:
    """Return the request of a model call that is about to start."""
    model = model_name(serialized, metadata, params)
    return CallRequest(
        model=model,
        provider=metadata.get("ls_provider"),
        prompt=prompt_of(messages, params),
        output_cap=own_cap(model, params, metadata.get("ls_max_tokens")),
        n=answers(params),
        tier=tier_of(params.get("service_tier")),
        fingerprint=fingerprint_of(model, messages),
        agent=agent_name(metadata),
        mixin=bubble(),
        unbounded=unbounded_in(params),
    )


def model_name(
    serialized: Mapping[str, Any] | None, metadata: Mapping[str, Any], params: Mapping[str, Any]
) -> str:
    """Return the model's name, or that of its class if nothing names it."""
    named = (metadata.get("ls_model_name"), params.get("model"), params.get("model_name"))
    found = next((name for name in named if isinstance(name, str) and name), None)
    if found is None:
        path = (serialized or {}).get("id") or [params.get("_type") or "unknown"]
        found = str(path[-1])
    return found


def agent_name(metadata: Mapping[str, Any]) -> str | None:
    """Return the name of the agent, or else of the graph's node, that calls."""
    name = metadata.get("lc_agent_name")
    if not name and (node := metadata.get("langgraph_node")) not in _INNER_NODES:
        name = node
    return name if isinstance(name, str) and name else None
