"""What clients send to a collector, in three shapes, and what of it cost money."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

from budget_core.errors import InvalidCost, UnknownModel
from budget_core.money.prices.lookup import rates
from budget_core.money.usage import Usage
from budget_core.money.usd import parse_cost

Event: TypeAlias = Mapping[str, Any]

SHARED: Final = "shared"
"""What an event's `ledger` says whose money a shared ledger has counted already."""
_LONGEST_NAME: Final = 200
_KEY: Final = re.compile(rb'"projectApiKey"\s*:\s*("(?:[^"\\]|\\.)*")')
_MOST_TOKENS: Final = 1_000_000_000


class Spend(NamedTuple):
    """What one call cost.

    Attributes:
        id: the same for the same event, so that one that is sent twice counts once.
        cost: in nanos.
        tokens: input and output.
        kind: "llm" or "tool".
    """

    id: str
    session_id: str
    team: str | None
    cost: int
    tokens: int
    kind: str


def events_in(document: Any) -> Sequence[Any] | None:
    if not isinstance(document, Mapping):
        return None
    if "events" not in document:
        return [document]
    events = document["events"]
    return events if isinstance(events, list) else None


def key_in(document: Any) -> str | None:
    key = document.get("projectApiKey") if isinstance(document, Mapping) else None
    return key if isinstance(key, str) else None


def key_near(head: bytes) -> str | None:
    """Return the key that stands at the beginning of a body of which not all has been read."""
    found = _KEY.search(head)
    try:
        return None if found is None else str(json.loads(found[1]))
    except ValueError:
        return None


def spend_in(event: Event) -> Spend | None:
    """Return what an event tells of money; None if it tells of none, or of money counted before.

    Raises:
        ValueError: it cannot be read.
    """
    if event.get("ledger") == SHARED:
        return None
    if event.get("type") == "call":
        return _told(event)
    return _counted(event) if "prompt_tokens" in event else None


def _told(event: Event) -> Spend:
    """Read an event of this package: it knows what it cost."""
    usage = event.get("usage") or {}
    if not isinstance(usage, Mapping):
        raise ValueError("usage is an object")  # noqa: TRY004  what callers catch
    cost = _cost(event.get("cost", 0))
    tokens = _count(usage.get("input", 0)) + _count(usage.get("output", 0))
    return _spend(event, cost, tokens, "tool" if event.get("kind") == "tool" else "llm")


def _counted(event: Event) -> Spend:
    """Read an event of AgentWatch's clients: a model and tokens, of this package's also a cost."""
    usage = Usage(
        input=_count(event["prompt_tokens"]), output=_count(event.get("completion_tokens", 0))
    )
    if "cost_usd" in event:
        cost = _cost(event["cost_usd"])
    else:
        try:
            cost = rates(str(event.get("model"))).cost(usage)
        except UnknownModel:
            cost = 0
    return _spend(event, cost, usage.total, "llm")


def _cost(value: Any) -> int:
    try:
        return parse_cost(value)
    except InvalidCost as error:
        raise ValueError(str(error)) from None


def _spend(event: Event, cost: int, tokens: int, kind: str) -> Spend:
    session, team = event.get("session_id"), event.get("team")
    names = [session] if team is None else [session, team]
    if not all(isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME for name in names):
        raise ValueError("session_id and team are texts of up to 200 characters")
    f"{session}{team}".encode()  # half a surrogate pair cannot be kept; the error is a ValueError
    digest = sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()[:32]
    return Spend(f"collected-{digest}", str(session), team, cost, tokens, kind)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        raise ValueError("tokens are whole numbers, 0 or more")
    return value
