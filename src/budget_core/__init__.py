"""budget-suite's core: hard spending limits for LLM agents, for any framework.

>>> from budget_core import AgentBudget, declare
>>> with AgentBudget("$5.00").session() as session:
...     _ = session.track("result", cost=0.01, tool_name="search")
>>> session.report()["total_spent"]
0.01
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.lazy import lazy

_HOME = {
    "AgentBudget": "budget",
    "declare": "budget",
    "AsyncBudgetSession": "session",
    "AsyncBudgetedAnthropic": "clients.anthropic",
    "AsyncBudgetedOpenAI": "clients.openai",
    "BudgetedAnthropic": "clients.anthropic",
    "BudgetedGoogle": "clients.google",
    "BudgetedOpenAI": "clients.openai",
    "BudgetSession": "session",
    "Call": "call",
    "CallRequest": "call",
    "Event": "events",
    "Limit": "limits",
    "Limits": "limits",
    "MemoryLedger": "ledger",
    "Ledger": "ledger",
    "Prompt": "prompts",
    "Receipt": "usage",
    "TopUp": "policy",
    "Usage": "usage",
    **dict.fromkeys(
        ("bind", "get_session", "init", "remaining", "report", "spent", "teardown", "track"),
        "dropin",
    ),
    "analyze_text": "risk",
    "hookimpl": "hooks",
    "listen": "events",
    "register_model": "pricing",
    "register_models": "pricing",
    "watch_client": "clients.watched",
    "wrap_client": "clients.wrap",
    **dict.fromkeys(
        (
            "AccountConflict",
            "AgentBudgetError",
            "AmbiguousBudget",
            "AnomalyDetected",
            "BudgetExhausted",
            "GuardError",
            "HoldConflict",
            "InvalidBudget",
            "InvalidCost",
            "LedgerUnavailable",
            "LoopDetected",
            "ModelNotAllowed",
            "QuotaExceeded",
            "RiskDetected",
            "SessionCancelled",
            "SessionFinalized",
            "Unbounded",
            "UnknownModel",
        ),
        "errors",
    ),
}

if TYPE_CHECKING:
    from budget_core.budget import AgentBudget, declare
    from budget_core.call import Call, CallRequest
    from budget_core.clients.anthropic import AsyncBudgetedAnthropic, BudgetedAnthropic
    from budget_core.clients.google import BudgetedGoogle
    from budget_core.clients.openai import AsyncBudgetedOpenAI, BudgetedOpenAI
    from budget_core.clients.watched import watch_client
    from budget_core.clients.wrap import wrap_client
    from budget_core.dropin import (
        bind,
        get_session,
        init,
        remaining,
        report,
        spent,
        teardown,
        track,
    )
    from budget_core.errors import (
        AccountConflict,
        AgentBudgetError,
        AmbiguousBudget,
        AnomalyDetected,
        BudgetExhausted,
        GuardError,
        HoldConflict,
        InvalidBudget,
        InvalidCost,
        LedgerUnavailable,
        LoopDetected,
        ModelNotAllowed,
        QuotaExceeded,
        RiskDetected,
        SessionCancelled,
        SessionFinalized,
        Unbounded,
        UnknownModel,
    )
    from budget_core.events import Event, listen
    from budget_core.hooks import hookimpl
    from budget_core.ledger import Ledger, MemoryLedger
    from budget_core.limits import Limit, Limits
    from budget_core.policy import TopUp
    from budget_core.pricing import register_model, register_models
    from budget_core.prompts import Prompt
    from budget_core.risk import analyze_text
    from budget_core.session import AsyncBudgetSession, BudgetSession
    from budget_core.usage import Receipt, Usage

__all__ = [
    "AccountConflict",
    "AgentBudget",
    "AgentBudgetError",
    "AmbiguousBudget",
    "AnomalyDetected",
    "AsyncBudgetSession",
    "AsyncBudgetedAnthropic",
    "AsyncBudgetedOpenAI",
    "BudgetExhausted",
    "BudgetSession",
    "BudgetedAnthropic",
    "BudgetedGoogle",
    "BudgetedOpenAI",
    "Call",
    "CallRequest",
    "Event",
    "GuardError",
    "HoldConflict",
    "InvalidBudget",
    "InvalidCost",
    "Ledger",
    "LedgerUnavailable",
    "Limit",
    "Limits",
    "LoopDetected",
    "MemoryLedger",
    "ModelNotAllowed",
    "Prompt",
    "QuotaExceeded",
    "Receipt",
    "RiskDetected",
    "SessionCancelled",
    "SessionFinalized",
    "TopUp",
    "Unbounded",
    "UnknownModel",
    "Usage",
    "analyze_text",
    "bind",
    "declare",
    "get_session",
    "hookimpl",
    "init",
    "listen",
    "register_model",
    "register_models",
    "remaining",
    "report",
    "spent",
    "teardown",
    "track",
    "watch_client",
    "wrap_client",
]


__getattr__, __dir__ = lazy(__name__, _HOME)
