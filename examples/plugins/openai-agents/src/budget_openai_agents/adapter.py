"""Where the SDK asks a model or calls a tool, the budget is asked first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from inspect import signature
from typing import Any, Literal

from agents.exceptions import AgentsException
from agents.models.interface import Model
from wrapt import ObjectProxy, wrap_function_wrapper

from budget_core import BudgetExhausted, Call, CallRequest, Prompt, Usage
from budget_core.integration import Integration
from budget_core.lastword import TOOL_REFUSED, WRAP_UP, spoken, streamed
from budget_core.outcomes import ending

NAMES = tuple(signature(Model.get_response).parameters)[1:]


class OpenAIAgentsBudget(Integration):
    """Holds every call of a model and a tool before it is made, for all runs inside its ``with``.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        on_exhausted: "finalize" makes one last call from the `finalization_reserve`, without
            tools; "raise" lets `BudgetExhausted` out at once.
        **options: everything else that `Integration` and `AgentBudget` take.
    """

    def __init__(
        self,
        budget: Any = None,
        *,
        on_exhausted: Literal["finalize", "raise"] = "finalize",
        **options: Any,
    ) -> None:
        super().__init__(budget, **options)
        self.on_exhausted = on_exhausted


class BudgetedModel(ObjectProxy[Any]):
    """A model as one agent asks it; all but its two ways of asking is the model's own."""

    def __init__(self, model: Model, agent: str, budget: OpenAIAgentsBudget) -> None:
        super().__init__(model)
        self._self_agent = agent
        self._self_session = budget.session_of(agent)
        self._self_finalize = budget.on_exhausted == "finalize"

    async def get_response(self, *args: Any, **kwargs: Any) -> Any:
        """Hold, ask, settle; when the money runs out, have the last word."""
        asked = _named(args, kwargs)
        return await spoken(
            lambda last: self._ask(asked, last), self._self_session, finalize=self._self_finalize
        )

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Do what `get_response` does, in parts."""
        asked = _named(args, kwargs)
        parts = streamed(
            lambda last: self._stream(asked, last), self._self_session, finalize=self._self_finalize
        )
        async with aclosing(parts):
            async for part in parts:
                yield part

    async def _ask(self, asked: dict[str, Any], last: bool) -> Any:
        asked = _last(asked) if last else asked
        with ending(await self._open(asked)) as call:
            response = await self.__wrapped__.get_response(**asked)
            call.finish(_usage(response.usage))
            return response

    async def _stream(self, asked: dict[str, Any], last: bool) -> AsyncGenerator[Any, None]:
        asked = _last(asked) if last else asked
        with ending(await self._open(asked)) as call:
            async with aclosing(self.__wrapped__.stream_response(**asked)) as events:
                async for event in events:
                    if event.type == "response.completed":
                        call.finish(_usage(event.response.usage))
                    yield event

    async def _open(self, asked: dict[str, Any]) -> Call:
        model, messages = str(getattr(self.__wrapped__, "model", "")), _items(asked["input"])
        context = [asked["system_instructions"], *map(vars, asked["tools"] + asked["handoffs"])]
        request = CallRequest(
            model=model,
            prompt=Prompt(messages, context),
            output_cap=asked["model_settings"].max_tokens,
            fingerprint=(model, messages[-2:]),
            agent=self._self_agent,
            mixin=AgentsException,
        )
        return await self._self_session.open_call_async(request)


def _named(args: Any, kwargs: Any) -> dict[str, Any]:
    return {**dict(zip(NAMES, args, strict=False)), **kwargs}


def _items(given: Any) -> list[Any]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _last(asked: dict[str, Any]) -> dict[str, Any]:
    """Ask for an answer, and offer nothing to call."""
    settings = replace(asked["model_settings"], tool_choice=None, parallel_tool_calls=None)
    items = [*_items(asked["input"]), {"role": "user", "content": WRAP_UP}]
    return {**asked, "input": items, "model_settings": settings, "tools": [], "handoffs": []}


def _usage(said: Any) -> Usage | None:
    """Read a usage; None, or one of no tokens, is charged as held."""
    return said and Usage(
        said.input_tokens, said.output_tokens, said.input_tokens_details.cached_tokens
    )


def _model(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    model, budget = wrapped(*args, **kwargs), OpenAIAgentsBudget.active()
    return model if budget is None else BudgetedModel(model, args[0].name, budget)


async def _tool(wrapped: Any, _instance: Any, _args: Any, kwargs: Any) -> Any:
    if (budget := OpenAIAgentsBudget.active()) is None:
        return await wrapped(**kwargs)
    tool, agent = kwargs["function_tool"], kwargs["context"].agent.name
    request = budget.tool_request(
        tool.name, kwargs["arguments"], agent=agent, mixin=AgentsException
    )
    try:
        with await budget.session_of(agent).open_call_async(request):
            return await wrapped(**kwargs)
    except BudgetExhausted:
        if budget.on_exhausted == "raise":
            raise

    async def refused(*_: Any) -> str:
        return TOOL_REFUSED.format(tool=tool.name)

    return await wrapped(**{**kwargs, "function_tool": replace(tool, on_invoke_tool=refused)})


# the SDK has no public place that sees both an agent and its model, or runs around a tool
wrap_function_wrapper("agents.run_internal.run_loop", "get_model", _model)
wrap_function_wrapper(
    "agents.run_internal.tool_execution", "_invoke_function_tool_with_metadata", _tool
)
