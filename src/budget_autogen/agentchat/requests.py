"""From AgentChat's messages to `CallRequest`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from autogen_core import FunctionCall, Image
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from budget_autogen.agentchat.models import settings_of
from budget_core import Prompt
from budget_core.frameworks import model_request

if TYPE_CHECKING:
    from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage

    from budget_core import CallRequest

ToolChoice: TypeAlias = Tool | Literal["auto", "required", "none"]


@dataclass(frozen=True)
class Asked:
    """What a model client is asked for: the arguments of its ``create`` and ``create_stream``."""

    messages: Sequence[LLMMessage]
    tools: Sequence[Tool | ToolSchema] = ()
    tool_choice: ToolChoice = "auto"
    json_output: bool | type[BaseModel] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, **extra: Any) -> dict[str, Any]:
        return {
            "messages": self.messages,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "json_output": self.json_output,
            "extra_create_args": {**self.extra, **extra},
        }


def request_of(
    client: ChatCompletionClient, asked: Asked, model: str, agent: str, agent_run: Hashable = None
) -> CallRequest:
    """Return the request of a call that is about to be made.

    Args:
        client: who will make it.
        asked: what for.
        model: its name, as prices know it.
        agent: who asks.
        agent_run: what tells it from others of that name.
    """
    params = {**settings_of(client), **asked.extra}
    messages = [_as_json(message) for message in asked.messages]
    tools = [tool.schema if isinstance(tool, Tool) else tool for tool in asked.tools]
    prompt = Prompt(messages, {"tools": tools, "response_format": asked.json_output})
    return model_request(model, prompt, params, agent=agent or None, agent_run=agent_run)


def shown(result: CreateResult) -> list[str]:
    texts = [result.thought or ""]
    if isinstance(result.content, str):
        return [*texts, result.content]
    return [*texts, *(call.name + call.arguments for call in result.content)]


def _as_json(message: LLMMessage) -> dict[str, Any]:
    if not isinstance(message.content, list):
        return message.model_dump(exclude_none=True)
    rest = message.model_dump(exclude_none=True, exclude={"content"})
    return {**rest, "content": [_part(part) for part in message.content]}


def _part(part: Any) -> Any:
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": part.data_uri}}
    if isinstance(part, FunctionCall):
        return {"id": part.id, "name": part.name, "arguments": part.arguments}
    return part.model_dump() if isinstance(part, BaseModel) else part
