"""The last call of an agent: what it is asked, and what is kept of its answer."""

from __future__ import annotations

from dataclasses import replace

from autogen_core.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    RequestUsage,
    SystemMessage,
)

from budget_autogen.agentchat.requests import Asked
from budget_core.lastword import SPEECHLESS


def final_ask(client: ChatCompletionClient, asked: Asked, wrap_up: str) -> Asked:
    """Return what to ask for the last answer: no tools, and an instruction to wrap up.

    The instruction follows the leading system messages: a system message further down is refused
    by some clients.
    """
    at = 0
    while at < len(asked.messages) and isinstance(asked.messages[at], SystemMessage):
        at += 1
    wrap: LLMMessage = SystemMessage(content=wrap_up)
    messages = [*asked.messages[:at], wrap, *asked.messages[at:]]
    if _needs_tools(client) and any(isinstance(m.content, list) for m in messages):
        return replace(asked, messages=messages, tool_choice="none")
    return replace(asked, messages=messages, tools=(), tool_choice="auto")


def _needs_tools(client: ChatCompletionClient) -> bool:
    """Tell whether the provider refuses a history with tool calls in it unless given the tools."""
    return type(client).__module__.startswith("autogen_ext.models.anthropic")


def final_answer(result: CreateResult) -> CreateResult:
    """Return the answer without calls of tools, so that the agent ends with it."""
    if isinstance(result.content, str) and result.content:
        return result
    text = result.thought or SPEECHLESS
    return result.model_copy(update={"content": text, "thought": None, "finish_reason": "stop"})


def said(text: str) -> CreateResult:
    """Return a last answer that no model was asked for."""
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    return CreateResult(finish_reason="stop", content=text, usage=usage, cached=True)
