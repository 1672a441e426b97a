"""An agent's last word: what it is told, and whether the reserve may pay for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from budget_core import scope
from budget_core.errors import BudgetExhausted, SessionCancelled, SessionFinalized

if TYPE_CHECKING:
    from budget_core.session import BudgetSession

WRAP_UP: Final = (
    "The budget for this task is nearly spent: this is your last message. Do not call any tool. "
    "Answer now with what you have found so far, and say briefly what is left to be done."
)
SPEECHLESS: Final = "The budget was spent before the answer was complete."
"""What stands for a last word in which the model only asked for tools."""

TOOL_REFUSED: Final = (
    "{tool} was stopped: its budget is spent. Do not call it again; answer with what you have."
)
"""What a model is told of a tool that was refused."""


def may_finalize(session: BudgetSession, error: BudgetExhausted) -> bool:
    """Tell whether the reserve of `session` may pay for a last word after `error`.

    Not where it is over; and an agent that is the tool of another one and spends the same
    session leaves the reserve to that one.
    """
    over = isinstance(error, SessionCancelled | SessionFinalized)
    return not over and session not in scope.tool_sessions()
