"""What adapters to frameworks are made of: a budget for a framework's agents, in a few lines.

>>> from budget_core.frameworks import AgentIntegration
>>> class MyBudget(AgentIntegration):
...     "Used as ``with MyBudget('$5'): ...``."
>>> with MyBudget("$5", tool_costs={"search": 0.01}) as budget:
...     assert MyBudget.active() is budget
>>> budget.report()["total_spent"]
0.0

See docs/adapters.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

if TYPE_CHECKING:
    from budget_core.frameworks.agents import AgentIntegration, OnExhausted
    from budget_core.frameworks.fingerprints import message_fingerprint, tool_fingerprint
    from budget_core.frameworks.integration import Integration, guarding, paying
    from budget_core.frameworks.joining import join
    from budget_core.frameworks.last_word import (
        SPEECHLESS,
        TOOL_REFUSED,
        WRAP_UP,
        LastWord,
        may_finalize,
        spoken,
        spoken_sync,
        streamed,
    )
    from budget_core.frameworks.options import given_or_new, options_of, split_options
    from budget_core.frameworks.outcomes import ending, failed, finish, unread
    from budget_core.frameworks.parameters import CAPS, answers, model_request, own_cap
    from budget_core.frameworks.senders import sender_of
    from budget_core.frameworks.streams import stepped, visible
    from budget_core.frameworks.truncation import repeated, repeated_stream, repeated_sync, whole
    from budget_core.runtime.stack import Stack

_HOME = {
    **dict.fromkeys(("AgentIntegration", "OnExhausted"), "frameworks.agents"),
    **dict.fromkeys(("message_fingerprint", "tool_fingerprint"), "frameworks.fingerprints"),
    **dict.fromkeys(("Integration", "guarding", "paying"), "frameworks.integration"),
    "join": "frameworks.joining",
    **dict.fromkeys(
        (
            "SPEECHLESS", "TOOL_REFUSED", "WRAP_UP", "LastWord", "may_finalize", "spoken",
            "spoken_sync", "streamed",
        ),
        "frameworks.last_word",
    ),
    **dict.fromkeys(("given_or_new", "options_of", "split_options"), "frameworks.options"),
    **dict.fromkeys(("ending", "failed", "finish", "unread"), "frameworks.outcomes"),
    **dict.fromkeys(("CAPS", "answers", "model_request", "own_cap"), "frameworks.parameters"),
    "sender_of": "frameworks.senders",
    **dict.fromkeys(("stepped", "visible"), "frameworks.streams"),
    **dict.fromkeys(
        ("repeated", "repeated_stream", "repeated_sync", "whole"), "frameworks.truncation"
    ),
    "Stack": "runtime.stack",
}  # fmt: skip

__all__ = [
    "CAPS",
    "SPEECHLESS",
    "TOOL_REFUSED",
    "WRAP_UP",
    "AgentIntegration",
    "Integration",
    "LastWord",
    "OnExhausted",
    "Stack",
    "answers",
    "ending",
    "failed",
    "finish",
    "given_or_new",
    "guarding",
    "join",
    "may_finalize",
    "message_fingerprint",
    "model_request",
    "options_of",
    "own_cap",
    "paying",
    "repeated",
    "repeated_stream",
    "repeated_sync",
    "sender_of",
    "split_options",
    "spoken",
    "spoken_sync",
    "stepped",
    "streamed",
    "tool_fingerprint",
    "unread",
    "visible",
    "whole",
]


__getattr__, __dir__ = lazy(__name__, _HOME, within="budget_core")
