"""budget-suite's core: hard spending limits for LLM agents, for any framework.

>>> from budget_core import AgentBudget, declare
>>> with AgentBudget("$5.00").session() as session:
...     _ = session.track("result", cost=0.01, tool_name="search")
>>> session.report()["total_spent"]
0.01
"""

from __future__ import annotations

from budget_core.errors import (
    AccountConflict,
    AgentBudgetError,
    AmbiguousBudget,
    AnomalyDetected,
    AnswerTruncated,
    BudgetExhausted,
    CallRefused,
    ConfigurationError,
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
    UnknownSetting,
)
from budget_core.runtime.lazy import lazy

_HOME = {
    "AgentBudget": "session.budget",
    "declare": "session.budget",
    "AsyncBudgetSession": "session.session",
    "AsyncBudgetedAnthropic": "sdk.clients.anthropic",
    "AsyncBudgetedOpenAI": "sdk.clients.openai",
    "BudgetedAnthropic": "sdk.clients.anthropic",
    "BudgetedGoogle": "sdk.clients.google",
    "BudgetedOpenAI": "sdk.clients.openai",
    "BudgetSession": "session.session",
    "Call": "calls.call",
    "CallRequest": "calls.request",
    "Event": "events",
    "Limit": "money.limits",
    "Limits": "money.limits",
    "MemoryLedger": "ledger",
    "Ledger": "ledger",
    "Prompt": "calls.prompt",
    "Receipt": "money.usage",
    "TopUp": "session.policy",
    "Usage": "money.usage",
    **dict.fromkeys(
        ("bind", "get_session", "init", "remaining", "report", "spent", "teardown", "track"),
        "sdk.dropin",
    ),
    "analyze_text": "session.screening.risk",
    "hookimpl": "hooks",
    "listen": "events",
    "register_model": "money.prices.lookup",
    "register_models": "money.prices.lookup",
    "watch_client": "sdk.clients.watched",
    "wrap_client": "sdk.clients.wrap",
}

TYPE_CHECKING = False  # as in `errors`
if TYPE_CHECKING:
    from budget_core.calls.call import Call
    from budget_core.calls.prompt import Prompt
    from budget_core.calls.request import CallRequest
    from budget_core.events import Event, listen
    from budget_core.ledger import Ledger, MemoryLedger
    from budget_core.money.limits import Limit, Limits
    from budget_core.money.prices.lookup import register_model, register_models
    from budget_core.money.usage import Receipt, Usage
    from budget_core.runtime.plugins.markers import hookimpl
    from budget_core.sdk.clients.anthropic import AsyncBudgetedAnthropic, BudgetedAnthropic
    from budget_core.sdk.clients.google import BudgetedGoogle
    from budget_core.sdk.clients.openai import AsyncBudgetedOpenAI, BudgetedOpenAI
    from budget_core.sdk.clients.watched import watch_client
    from budget_core.sdk.clients.wrap import wrap_client
    from budget_core.sdk.dropin import (
        bind,
        get_session,
        init,
        remaining,
        report,
        spent,
        teardown,
        track,
    )
    from budget_core.session.budget import AgentBudget, declare
    from budget_core.session.policy import TopUp
    from budget_core.session.screening.risk import analyze_text
    from budget_core.session.session import AsyncBudgetSession, BudgetSession

__all__ = [
    "AccountConflict",
    "AgentBudget",
    "AgentBudgetError",
    "AmbiguousBudget",
    "AnomalyDetected",
    "AnswerTruncated",
    "AsyncBudgetSession",
    "AsyncBudgetedAnthropic",
    "AsyncBudgetedOpenAI",
    "BudgetExhausted",
    "BudgetSession",
    "BudgetedAnthropic",
    "BudgetedGoogle",
    "BudgetedOpenAI",
    "Call",
    "CallRefused",
    "CallRequest",
    "ConfigurationError",
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
    "UnknownSetting",
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
