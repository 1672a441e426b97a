"""Anthropic's extended thinking: what may be asked for, and the block that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core.testing.wire import Json, Refusal, positive

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_BUDGET = 1024


def thinks(body: Mapping[str, Any]) -> bool:
    return (body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}


def check_thinking(body: Json) -> None:
    """Raise Refusal unless a thinking budget is large enough, and fits below ``max_tokens``."""
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < LEAST_BUDGET:
        least = f"Input should be greater than or equal to {LEAST_BUDGET}"
        raise Refusal(400, f"thinking.enabled.budget_tokens: {least}")
    if positive("max_tokens", body["max_tokens"]) <= budget:
        raise Refusal(400, "`max_tokens` must be greater than `thinking.budget_tokens`")


def signed(thinking: str) -> Json:
    return {"type": "thinking", "thinking": thinking, "signature": "c2lnbmVk"}
