"""Each run of an agent gets a capability that asks the budget before models and tools are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_core import to_jsonable_python
from wrapt import wrap_function_wrapper

from budget_core import BudgetExhausted, Call, CallRequest, Prompt, Usage
from budget_core.integration import Integration
from budget_core.lastword import TOOL_REFUSED, WRAP_UP, spoken
from budget_core.outcomes import ending

if TYPE_CHECKING:
    from pydantic_ai.models import Model, StreamedResponse


class PydanticAIBudget(Integration):
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


@dataclass
class Budgeted(AbstractCapability[Any]):
    """The budget of one agent's run."""

    budget: PydanticAIBudget
    agent: str | None = None

    def get_wrapper_model(self, model: Model) -> Model:
        """Ask models through the budget."""
        return BudgetedModel(model, self.agent, self.budget)

    async def wrap_tool_execute(
        self,
        _ctx: RunContext[Any],
        *,
        call: Any,
        args: Any,
        handler: Any,
        **_more: Any,
    ) -> Any:
        """Pay for a tool; tell the model if there is no money for it."""
        request = self.budget.tool_request(call.tool_name, args, agent=self.agent)
        try:
            with await self.budget.session_of(self.agent).open_call_async(request):
                return await handler(args)
        except BudgetExhausted:
            if self.budget.on_exhausted == "raise":
                raise
            return TOOL_REFUSED.format(tool=call.tool_name)


class BudgetedModel(WrapperModel):
    """A model as one agent asks it."""

    def __init__(self, model: Model, agent: str | None, budget: PydanticAIBudget) -> None:
        super().__init__(model)
        self._agent = agent
        self._session = budget.session_of(agent)
        self._finalize = budget.on_exhausted == "finalize"

    async def request(self, *asked: Any) -> ModelResponse:
        """Hold, ask, settle; when the money runs out, have the last word."""

        async def ask(last: bool) -> ModelResponse:
            arguments = _last(*asked) if last else asked
            with ending(await self._open(*arguments)) as call:
                response = await self.wrapped.request(*arguments)
                call.finish(_usage(response))
                return response

        return await spoken(ask, self._session, finalize=self._finalize)

    @asynccontextmanager
    async def request_stream(self, *asked: Any) -> AsyncIterator[StreamedResponse]:
        """Do what `request` does, in parts."""
        messages, settings, parameters, *context = asked

        async def ask(last: bool) -> tuple[Call, tuple[Any, ...]]:
            arguments = (messages, settings, parameters)
            arguments = _last(*arguments) if last else arguments
            return await self._open(*arguments), (*arguments, *context)

        opened, arguments = await spoken(ask, self._session, finalize=self._finalize)
        with ending(opened) as call:
            async with self.wrapped.request_stream(*arguments) as response:
                yield response
                call.finish(_usage(response.get()))

    async def _open(self, messages: Any, settings: Any, parameters: Any) -> Call:
        said = to_jsonable_python(messages)
        request = CallRequest(
            model=self.wrapped.model_name,
            provider=self.wrapped.system,
            prompt=Prompt(said, to_jsonable_python(parameters, fallback=str)),
            output_cap=(settings or {}).get("max_tokens"),
            agent=self._agent,
        )
        return await self._session.open_call_async(request)


def _last(messages: Any, settings: Any, parameters: Any) -> tuple[Any, Any, Any]:
    """Ask for an answer, and offer nothing to call but what shapes it."""
    asked = [*messages, ModelRequest(parts=[UserPromptPart(WRAP_UP)])]
    return asked, settings, replace(parameters, function_tools=[], native_tools=[])


def _usage(response: ModelResponse) -> Usage:
    """Read a usage; one of no tokens is charged as held."""
    said = response.usage
    tokens = said.input_tokens, said.output_tokens, said.cache_read_tokens, said.cache_write_tokens
    return Usage(*tokens)


def _iter(wrapped: Any, agent: Any, args: Any, kwargs: Any) -> Any:
    if (budget := PydanticAIBudget.active()) is not None:
        given = kwargs.get("capabilities") or ()
        kwargs = {**kwargs, "capabilities": [*given, Budgeted(budget, agent.name)]}
    return wrapped(*args, **kwargs)


# every way of running an agent comes through here
wrap_function_wrapper(Agent, "iter", _iter)
