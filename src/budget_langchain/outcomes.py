"""What LangChain's end and error events say about money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from budget_core import Usage
from budget_core.maximums import is_reasoning
from budget_core.usage import read_receipt
from budget_langchain.messages import streamed_text

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult

    from budget_core import Call

_ERROR: Final = 400
_MAYBE_BILLED: Final = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting for an answer that may have been made."""
_NEVER_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"}
)
_UNSEEN_OUTPUT: Final = 64
"""Tokens that an answer may have beyond its visible bytes, if it does not reason."""


def was_cached(response: LLMResult) -> bool:
    """Tell whether an answer came from LangChain's cache: nothing was asked of a provider."""
    if response.llm_output or not response.generations or not response.generations[0]:
        return False
    message = getattr(response.generations[0][0], "message", None)
    usage = getattr(message, "usage_metadata", None) or {}
    return "total_cost" in usage and usage["total_cost"] == 0


def says_usage(response: LLMResult) -> bool:
    """Tell whether a response says what it used."""
    return read_receipt(response).usage is not None


def finish(call: Call, response: LLMResult) -> None:
    """Charge a complete answer: as its usage says, else by what can be seen of it.

    Visible output has no more tokens than UTF-8 bytes. What a reasoning model thinks is not
    visible, so of one that does not tell its usage the whole hold is charged.
    """
    if call.claimed:
        call.finish()
        return
    receipt = read_receipt(response)
    if receipt.usage is None and call.quote is not None and not is_reasoning(call.request.model):
        written = sum(_size(answer) for answers in response.generations for answer in answers)
        output = written + _UNSEEN_OUTPUT * call.quote.n
        if call.wired:
            output = min(output, call.output)
        receipt = receipt._replace(usage=Usage(call.quote.input_tokens, output))
    call.finish(receipt)


def _size(answer: Any) -> int:
    message = getattr(answer, "message", None)
    if message is None:
        return len(str(getattr(answer, "text", "")).encode(errors="replace"))
    calls = getattr(message, "tool_calls", None) or ()
    shown = streamed_text("", answer) + "".join(f"{c['name']}{c['args']}" for c in calls)
    return len(shown.encode(errors="replace"))


def unbilled(error: BaseException) -> bool:
    """Tell whether an error proves that the provider charges nothing for the call."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status >= _ERROR and status not in _MAYBE_BILLED
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ in _NEVER_SENT:
            return True
        seen = seen.__cause__
    return False


def interrupted(error: BaseException) -> bool:
    """Tell whether a tool stopped to ask a human, and will start again."""
    return any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__)
