"""A provider to test against: OpenAI- and Anthropic-compatible, on loopback, with a truthful bill.

Needs ``pip install 'budget-suite[testing]'`` once a :class:`Provider` is started.
"""

from budget_core.testing.gate import Gate
from budget_core.testing.provider import Provider
from budget_core.testing.reply import Bill, Incoming, Reply, ToolCall

__all__ = ["Bill", "Gate", "Incoming", "Provider", "Reply", "ToolCall"]
