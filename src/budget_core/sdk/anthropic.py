"""The guard on the anthropic SDK: what of its API is billed, and how its answers are capped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from budget_core.calls.prompt import unbounded_in
from budget_core.calls.quote import USEFUL
from budget_core.sdk.endpoints import Api, Body, Endpoint
from budget_core.sdk.stainless import StainlessGuard
from budget_core.sdk.stream_events import MESSAGES

_LEAST_THOUGHT: Final = 1_024
"""The smallest ``thinking.budget_tokens``; it has to stay below ``max_tokens``."""


def _thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and isinstance(thinking.get("budget_tokens"), int)


def _unbounded(body: Mapping[str, Any]) -> str | None:
    edits = body.get("context_management") or {}
    if isinstance(edits, Mapping) and any(map(_compacts, edits.get("edits") or ())):
        return "a compaction, which reads and writes besides the answer (context_management)"
    return unbounded_in(body)


def _compacts(edit: Any) -> bool:
    return not (isinstance(edit, Mapping) and str(edit.get("type")).startswith("clear_"))


def _least(body: Mapping[str, Any]) -> int:
    return _LEAST_THOUGHT + USEFUL if "thinking" in body and _thinks(body) else 1


def _think_less(body: Body, cap: int) -> Body:
    if not _thinks(body):
        return body
    thinking = body["thinking"]
    budget = min(thinking["budget_tokens"], max(_LEAST_THOUGHT, cap - USEFUL))
    return {**body, "thinking": {**thinking, "budget_tokens": budget}}


_KNOWN: Final = frozenset(
    {
        "system", "tools", "tool_choice", "output_config", "output_format", "context_management",
        "container", "betas", "speed", "inference_geo", "cache_control",
    }
)  # fmt: skip

API: Final = Api(
    {
        "/messages": Endpoint(
            messages="messages",
            caps=("max_tokens",),
            stream_format=MESSAGES,
            least=_least,
            unbounded=_unbounded,
            own=("anthropic",),
            known=_KNOWN,
            adjust=_think_less,
        ),
        "/complete": Endpoint(
            messages="prompt",
            caps=("max_tokens_to_sample",),
            stream_format=MESSAGES,
        ),
        "/messages/batches": Endpoint(beyond="a batch, which is answered and billed later"),
    },
    free=re.compile(
        r"^(/v1)?/(messages/count_tokens$|messages/batches/[^/]+/cancel$"
        r"|(files|skills|organizations|memory_stores|vaults|user_profiles|agents|environments)(/|$))"
    ),
)
"""What the SDK can ask of a provider: https://docs.anthropic.com/en/api."""

GUARD: Final = StainlessGuard("anthropic", API)
