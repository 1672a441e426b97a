"""The last call of an agent: what it is asked, and what is kept of its answer."""

from __future__ import annotations

from dataclasses import replace

from autogen_core.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    RequestUsage,
    UserMessage,
)

from budget_autogen.agentchat.requests import Asked
from budget_core.frameworks import SPEECHLESS


def final_ask(client: ChatCompletionClient, asked: Asked, wrap_up: str) -> Asked:
    """Return what to ask for the last answer: no tools, and an instruction to wrap up.

    The instruction comes last, so that what the messages before it were billed is known; and as a
    user's, since a system message at that place is refused by some clients.
    """
    messages: list[LLMMessage] = [*asked.messages, UserMessage(content=wrap_up, source="user")]
    if _needs_tools(client) and any(isinstance(m.content, list) for m in messages):
        return replace(asked, messages=messages, tool_choice="none")
    return replace(asked, messages=messages, tools=(), tool_choice="auto")


def _needs_tools(client: ChatCompletionClient) -> bool:
    """Return whether the provider refuses a history with tool calls unless given the tools."""
    return type(client).__module__.startswith("autogen_ext.models.anthropic")


def final_answer(result: CreateResult) -> CreateResult:
    if isinstance(result.content, str) and result.content:
        return result
    text = result.thought or SPEECHLESS
    return result.model_copy(update={"content": text, "thought": None, "finish_reason": "stop"})


def final_part(part: str | CreateResult) -> str | CreateResult:
    """Return a part of a streamed answer, the answer itself without calls of tools."""
    return part if isinstance(part, str) else final_answer(part)


def said(text: str) -> CreateResult:
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    return CreateResult(finish_reason="stop", content=text, usage=usage, cached=True)
