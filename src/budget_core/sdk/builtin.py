"""The SDKs that this package guards, plugged in as others may plug in theirs."""

from __future__ import annotations

from budget_core.runtime.plugins.markers import hookimpl
from budget_core.sdk.installing import GuardsRequest


@hookimpl
def budget_guards(request: GuardsRequest) -> None:
    """Register the guards of this package."""
    request.register("openai", "budget_core.sdk.openai:GUARD")
    request.register("anthropic", "budget_core.sdk.anthropic:GUARD")
    request.register("google.genai", "budget_core.sdk.google.guard:GUARD")
