"""An agent's last call: what it is asked, and what is made of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from budget_core.frameworks import SPEECHLESS
from budget_crewai.requests import changed, said

_ACTION: Final = "Action:"
_ANSWER: Final = "Final Answer:"


def final_call(
    args: Sequence[Any], kwargs: Mapping[str, Any], wrap_up: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    given = said(args, kwargs)
    messages = given.get("messages") or []
    if isinstance(messages, str):
        final: Any = f"{messages}\n\n{wrap_up}"
    else:
        final = [*messages, {"role": "user", "content": wrap_up}]
    return changed(args, kwargs, {"messages": final, "tools": None}.get)


def ending(answer: Any, *, has_tools: bool) -> Any:
    """Return an answer that ends the agent: a text, or the object that was asked for.

    Args:
        answer: what the LLM returned.
        has_tools: the agent's tools are called as the provider has it. Those of another agent are
            called in its text, where none may be left.
    """
    if hasattr(answer, "model_dump"):
        return answer
    text = answer.strip() if isinstance(answer, str) else ""
    if not has_tools and _ACTION in text:
        before, _, after = text.partition(_ANSWER)
        said = after if after.strip() and _ACTION not in after else before.partition(_ACTION)[0]
        text = f"{_ANSWER} {said.replace('Thought:', '').strip() or SPEECHLESS}"
    return text or SPEECHLESS
