"""What LangChain's end and error events say about money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core.frameworks import outcomes
from budget_langchain.messages import streamed_text
from budget_langchain.usage import read_result

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult

    from budget_core import Call


def was_cached(response: LLMResult) -> bool:
    """Tell whether an answer came from LangChain's cache: nothing was asked of a provider."""
    if response.llm_output or not response.generations or not response.generations[0]:
        return False
    message = getattr(response.generations[0][0], "message", None)
    usage = getattr(message, "usage_metadata", None) or {}
    return "total_cost" in usage and usage["total_cost"] == 0


def says_usage(response: LLMResult) -> bool:
    """Tell whether a response says what it used."""
    return read_result(response).usage is not None


def finish(call: Call, response: LLMResult) -> None:
    """Charge a complete answer: as its usage says, else by what can be seen of it."""
    shown = (_shown(answer) for answers in response.generations for answer in answers)
    outcomes.finish(call, read_result(response), shown)


def _shown(answer: Any) -> str:
    message = getattr(answer, "message", None)
    if message is None:
        return str(getattr(answer, "text", ""))
    calls = getattr(message, "tool_calls", None) or ()
    return streamed_text("", answer) + "".join(f"{c['name']}{c['args']}" for c in calls)


def interrupted(error: BaseException) -> bool:
    """Tell whether a tool stopped to ask a human, and will start again."""
    return any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__)
