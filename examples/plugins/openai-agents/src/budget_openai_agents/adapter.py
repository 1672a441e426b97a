"""Where the SDK asks a model or calls a tool, the budget is asked first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from inspect import signature
from typing import Any

from agents.exceptions import AgentsException
from agents.models.interface import Model
from agents.models.openai_responses import OpenAIResponsesWSModel
from agents.tracing import get_current_trace
from wrapt import ObjectProxy, wrap_function_wrapper

from budget_core import Call, CallRequest, Prompt, Usage
from budget_core.frameworks import (
    AgentIntegration,
    LastWord,
    ending,
    message_fingerprint,
    sender_of,
    whole,
)

ENDS = "response.completed", "response.incomplete"
WAYS = "get_response", "stream_response"
NAMES = tuple(signature(Model.get_response).parameters)[1:]


class OpenAIAgentsBudget(AgentIntegration):
    """Holds each call of a model or a tool before it is made, in runs inside its ``with``."""


class BudgetedModel(ObjectProxy):  # type: ignore[misc]
    """A model as one agent asks it; all but its two ways of asking is the model's own."""

    def __init__(self, model: Model, agent: str, budget: OpenAIAgentsBudget) -> None:
        super().__init__(model)
        self._self_agent, self._self_budget = agent, budget
        by_http = not isinstance(model, OpenAIResponsesWSModel)
        self._self_sdk = sender_of(model, Model, *WAYS) if by_http else None

    async def get_response(self, *args: Any, **kwargs: Any) -> Any:
        """Hold, ask, settle; when the money runs out, have the last word."""
        given = {**dict(zip(NAMES, args, strict=False)), **kwargs}

        async def ask(last: LastWord | None) -> Any:
            asked = _last(given, last.wrap_up) if last else given
            with ending(await self._open(asked), sdk=self._self_sdk) as call:
                response = await self.__wrapped__.get_response(**asked)
                call.finish(_usage(response.usage))
                return whole(call, response, text=not asked["output_schema"])

        return await self._self_budget.ask(self._self_agent, ask)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Do what `get_response` does, in parts."""
        given = {**dict(zip(NAMES, args, strict=False)), **kwargs}

        async def ask(last: LastWord | None) -> AsyncGenerator[Any, None]:
            asked = _last(given, last.wrap_up) if last else given
            with ending(await self._open(asked), sdk=self._self_sdk) as call:
                end = None
                async with aclosing(self.__wrapped__.stream_response(**asked)) as events:
                    async for event in events:
                        if event.type in ENDS:
                            end = event  # kept until the call is settled, when the stream is over
                        else:
                            yield event
                if end is not None:
                    call.finish(_usage(end.response.usage))
                    yield whole(call, end, text=not asked["output_schema"])

        async with aclosing(self._self_budget.stream(self._self_agent, ask)) as parts:
            async for part in parts:
                yield part

    async def _open(self, asked: dict[str, Any]) -> Call:
        model, messages = str(getattr(self.__wrapped__, "model", "")), _items(asked["input"])
        context = [asked["system_instructions"], *map(vars, asked["tools"] + asked["handoffs"])]
        request = CallRequest(
            model=model,
            prompt=Prompt(messages, context),
            output_cap=asked["model_settings"].max_tokens,
            fingerprint=message_fingerprint(model, messages),
            agent=self._self_agent,
            agent_run=get_current_trace(),
            mixin=AgentsException,
        )
        return await self._self_budget.session_of(self._self_agent).open_call_async(request)


def _items(given: Any) -> list[Any]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _last(asked: dict[str, Any], wrap_up: str) -> dict[str, Any]:
    """Ask for an answer, and offer nothing to call."""
    settings = replace(asked["model_settings"], tool_choice=None, parallel_tool_calls=None)
    items = [*_items(asked["input"]), {"role": "user", "content": wrap_up}]
    return {**asked, "input": items, "model_settings": settings, "tools": [], "handoffs": []}


def _usage(said: Any) -> Usage | None:
    """Read a usage; None, or one of no tokens, is charged as held."""
    cached = said and said.input_tokens_details.cached_tokens
    return said and Usage(said.input_tokens, said.output_tokens, cached)


def _model(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    model, budget = wrapped(*args, **kwargs), OpenAIAgentsBudget.active()
    return model if budget is None else BudgetedModel(model, args[0].name, budget)


async def _tool(wrapped: Any, _instance: Any, _args: Any, kwargs: Any) -> Any:
    if (budget := OpenAIAgentsBudget.active()) is None:
        return await wrapped(**kwargs)
    tool, agent = kwargs["function_tool"], kwargs["context"].agent.name

    async def run(refusal: str | None) -> Any:
        async def told(*_: Any) -> str | None:
            return refusal

        used = tool if refusal is None else replace(tool, on_invoke_tool=told)
        return await wrapped(**{**kwargs, "function_tool": used})

    arguments = kwargs["arguments"]
    traced = get_current_trace()
    return await budget.use(
        tool.name, arguments, run, agent=agent, mixin=AgentsException, agent_run=traced
    )


# the SDK has no public place that sees both an agent and its model, or runs around a tool
wrap_function_wrapper("agents.run_internal.run_loop", "get_model", _model)
wrap_function_wrapper(
    "agents.run_internal.tool_execution", "_invoke_function_tool_with_metadata", _tool
)
