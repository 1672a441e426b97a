"""Refusing WebSockets while a budget is in force: nothing sent over them can be held or capped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budget_core.errors import Unbounded
from budget_core.sdk.claims import payers
from budget_core.sdk.patches import Patches


def refuse_sockets(patches: Patches, owners: Mapping[str, tuple[str, ...]]) -> None:
    """Let the `connect` of these classes, by module, refuse where a budget is in force."""
    for module, classes in owners.items():
        for owner in classes:
            patches.wrap_later(module, owner, "connect", _refuse)


def _refuse(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    client = getattr(resource, "_client", None) or getattr(resource, "_api_client", None)
    refuse_unbounded(client, f"a WebSocket ({type(resource).__name__}.connect)")
    return original(resource, *args, **kwargs)


def refuse_unbounded(client: Any, what: str) -> None:
    """Refuse what this guard cannot meter, unless everybody who would pay for it allows that.

    Raises:
        Unbounded: a session that would pay for it has ``unbounded="refuse"``.
    """
    if any(not session.estimator.allows_unbounded for session in payers(client)):
        raise Unbounded(what)
