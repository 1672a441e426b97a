"""Each run of an agent gets a capability that asks the budget before models and tools are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_core import to_jsonable_python
from wrapt import wrap_function_wrapper

from budget_core import Call, CallRequest, Prompt, Usage
from budget_core.frameworks import (
    AgentIntegration,
    LastWord,
    ending,
    message_fingerprint,
    sender_of,
    whole,
)

if TYPE_CHECKING:
    from pydantic_ai.models import StreamedResponse


class PydanticAIBudget(AgentIntegration):
    """Holds each call of a model or a tool before it is made, in runs inside its ``with``."""


@dataclass
class Budgeted(AbstractCapability[Any]):
    """The budget of one agent's run."""

    budget: PydanticAIBudget
    agent: str | None = None
    run: object = field(default_factory=object)

    def get_wrapper_model(self, model: Model) -> Model:
        """Ask models through the budget."""
        return budgeted(model, self)

    async def wrap_tool_execute(
        self, _ctx: RunContext[Any], *, call: Any, args: Any, handler: Any, **_more: Any
    ) -> Any:
        """Pay for a tool; tell the model if there is no money for it."""

        async def run(refusal: str | None) -> Any:
            return await handler(args) if refusal is None else refusal

        return await self.budget.use(
            call.tool_name, args, run, agent=self.agent, agent_run=self.run
        )


def budgeted(model: Model, of: Budgeted) -> Model:
    """Return a model as one agent asks it: of one that asks others, those are what is paid for."""
    if isinstance(model, TestModel | FunctionModel):
        return model  # it asks nobody, or is a function of the program's own
    asks = {
        name: [budgeted(one, of) for one in value]
        if isinstance(value, list)
        else budgeted(value, of)
        for name, value in vars(model).items()
        if isinstance(value, Model) or (isinstance(value, list) and _are_models(value))
    }
    if not asks:
        return BudgetedModel(model, of)
    router = copy(model)
    vars(router).update(asks)
    return Router(model, router)


class Router(WrapperModel):
    """A model that asks others, for money: it is entered and left as itself."""

    def __init__(self, model: Model, router: Model) -> None:
        super().__init__(model)
        self._router = router

    async def request(self, *asked: Any) -> ModelResponse:
        """Ask those others."""
        return await self._router.request(*asked)

    @asynccontextmanager
    async def request_stream(self, *asked: Any) -> AsyncIterator[StreamedResponse]:
        """Do what `request` does, in parts."""
        async with self._router.request_stream(*asked) as response:
            yield response


class BudgetedModel(WrapperModel):
    """A model as one agent asks it."""

    def __init__(self, model: Model, of: Budgeted) -> None:
        super().__init__(model)
        self._agent, self._run, self._budget = of.agent, of.run, of.budget
        self._sdk = sender_of(model, Model, "request", "request_stream")

    async def request(self, *asked: Any) -> ModelResponse:
        """Hold, ask, settle; when the money runs out, have the last word."""

        async def ask(last: LastWord | None) -> ModelResponse:
            arguments = _last(*asked, last.wrap_up) if last else asked
            with ending(await self._open(*arguments), sdk=self._sdk) as call:
                response = await self.wrapped.request(*arguments)
                call.finish(_usage(response))
                return whole(call, response, text=_is_text(arguments[2], response))

        return await self._budget.ask(self._agent, ask)

    @asynccontextmanager
    async def request_stream(self, *asked: Any) -> AsyncIterator[StreamedResponse]:
        """Do what `request` does, in parts."""
        messages, settings, parameters, *context = asked

        async def ask(last: LastWord | None) -> tuple[Call, tuple[Any, ...]]:
            arguments = (messages, settings, parameters)
            arguments = _last(*arguments, last.wrap_up) if last else arguments
            return await self._open(*arguments), (*arguments, *context)

        opened, arguments = await self._budget.ask(self._agent, ask)
        with ending(opened, sdk=self._sdk) as call:
            async with self.wrapped.request_stream(*arguments) as response:
                yield response
                call.finish(_usage(response.get()))
            answer = response.get()  # read by now, so that it is too late for another one
            whole(call, answer, text=_is_text(arguments[2], answer))

    async def _open(self, messages: Any, settings: Any, parameters: Any) -> Call:
        said = to_jsonable_python(messages)
        request = CallRequest(
            model=self.wrapped.model_name,
            provider=self.wrapped.system,
            prompt=Prompt(said, to_jsonable_python(parameters, fallback=str)),
            output_cap=(settings or {}).get("max_tokens"),
            fingerprint=message_fingerprint(self.wrapped.model_name, said),
            agent=self._agent,
            agent_run=self._run,
        )
        return await self._budget.session_of(self._agent).open_call_async(request)


def _is_text(parameters: Any, response: ModelResponse) -> bool:
    """Return whether nothing but text was wanted, and came."""
    formed = parameters.output_tools or parameters.output_object
    return not formed and not response.tool_calls


def _are_models(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Model) for value in values)


def _last(messages: Any, settings: Any, parameters: Any, wrap_up: str) -> tuple[Any, Any, Any]:
    """Ask for an answer, and offer nothing to call but what shapes it."""
    asked = [*messages, ModelRequest(parts=[UserPromptPart(wrap_up)])]
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
