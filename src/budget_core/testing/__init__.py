"""A provider to test against, on loopback: it speaks OpenAI, Anthropic and Google, and bills truly.

Needs ``pip install 'budget-suite[testing]'`` once a :class:`Provider` is started.
"""

from budget_core.testing.gate import Gate
from budget_core.testing.manners import Manners
from budget_core.testing.provider import Provider
from budget_core.testing.reply import Bill, Incoming, Reply, ToolCall

__all__ = ["Bill", "Gate", "Incoming", "Manners", "Provider", "Reply", "ToolCall"]
