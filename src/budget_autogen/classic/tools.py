"""What a tool costs, and what a model is told of one that the budget refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from budget_autogen.classic.paying import replies
from budget_core import BudgetExhausted
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.frameworks import TOOL_REFUSED

if TYPE_CHECKING:
    from budget_autogen.paying import Payers
    from budget_core import CallRequest


def tool_request(agent: Any, payers: Payers, call: Mapping[str, Any]) -> CallRequest | None:
    """Return the request of a tool call; None if nothing can be run, or it has no payer.

    Args:
        agent: who runs it.
        payers: whose money it is.
        call: its name, and its arguments as JSON.
    """
    name = str(call.get("name", ""))
    if name not in agent.function_map or not payers.trackers:
        return None
    try:
        arguments = json.loads(agent._format_json_str(call.get("arguments", "{}")))  # noqa: SLF001
    except json.JSONDecodeError:
        return None
    askers = [reply.asker for reply in replies.get() if reply.agent is agent]
    run = (payers.agent_id, *askers[-1:])  # who asks for it: the agent only runs it
    return payers.tool_request(name, arguments)._replace(agent_run=run)


def unaffordable(
    payers: Payers, call: Mapping[str, Any], error: BudgetExhausted
) -> tuple[bool, dict[str, Any]]:
    """Return the result of a tool that was not run, as AutoGen gives that of one that failed.

    Raises:
        BudgetExhausted: `error`, if the agent is not to go on.
    """
    over = isinstance(error, SessionCancelled | SessionFinalized)
    if over or payers.raises:
        raise error
    name = str(call.get("name", ""))
    content = f"Error: {TOOL_REFUSED.format(tool=name)}"
    return False, {"name": name, "role": "function", "content": content}
