"""`BudgetedChatCompletionClient`: a model client that holds every call before it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Self

from autogen_core import CancellationToken, Component, ComponentModel
from autogen_core.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    ModelInfo,
    RequestUsage,
)
from pydantic import BaseModel

from budget_autogen.agentchat.last_word import final_answer, final_ask, final_part, said
from budget_autogen.agentchat.models import cap_setting, model_of, stream_setting
from budget_autogen.agentchat.requests import Asked, ToolChoice, request_of, shown
from budget_autogen.paying import Payers
from budget_autogen.saved import SavedTracker, load_tracker, save_tracker
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import AgentBudgetError, BudgetExhausted, Usage
from budget_core.frameworks import (
    LastWord,
    ending,
    finish,
    sender_of,
    spoken,
    stepped,
    streamed,
    visible,
    whole,
)
from budget_core.money.usage import Receipt

if TYPE_CHECKING:
    from autogen_core.tools import Tool, ToolSchema

    from budget_core import AgentBudget, Call
    from budget_core.money.limits import Limit
    from budget_core.money.usd import Money


class BudgetedClientConfig(BaseModel):
    """A budgeted client as a component: the client within, and who pays."""

    client: ComponentModel
    trackers: list[SavedTracker]
    model: str
    agent: str
    speaks: bool
    stand_in: str | None = None


class BudgetedChatCompletionClient(ChatCompletionClient, Component[BudgetedClientConfig]):
    """Holds every call before it is made, and settles it afterwards.

    At the limit it makes one last call from the finalization reserve, without tools and with an
    instruction to wrap up. Give a selector or an orchestrator, which needs a name or JSON, a client
    with ``on_exhausted="raise"``; `AutoGenBudgetTracker.attach` sees to that by itself.

    An answer from a cache is free. Dumped as a component and loaded again, it goes on with the same
    budget and what was spent of it.

    Args:
        client: makes the calls. A budgeted one is not wrapped again: this budget joins its own.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        tracker: the tracker that pays, in place of a budget.
        model: its name, as prices know it; read off `client` if None.
        agent: who asks, for the report and for limits of its own.
        payers: who pays, in place of all that; shared with the agent whose client it is.
        **options: everything else that `AutoGenBudgetTracker` takes.

    Raises:
        BudgetExhausted, LoopDetected, UnknownModel, Unbounded: from ``create``; a stream raises
            when its first part is asked for.
    """

    component_type = "model"
    component_config_schema = BudgetedClientConfig
    component_provider_override = "budget_autogen.agentchat.BudgetedChatCompletionClient"

    def __init__(
        self,
        client: ChatCompletionClient,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        tracker: AutoGenBudgetTracker | None = None,
        model: str | None = None,
        agent: str = "",
        payers: Payers | None = None,
        **options: Any,
    ) -> None:
        self.payers = payers or Payers(agent)
        if isinstance(client, BudgetedChatCompletionClient):
            model = model or client.model
            for known in client.payers.attached:
                self.payers.add(known)
            client = client.client
        self.client: ChatCompletionClient = client
        self.model: str = model or model_of(client)
        if payers is None:
            self.payers.add(tracker or AutoGenBudgetTracker(budget, **options))

    @property
    def tracker(self) -> AutoGenBudgetTracker:
        """The first of the trackers that pay."""
        return self.payers.trackers[0]

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`)."""
        return self.payers.session.report()

    # -- calls -------------------------------------------------------------------------------

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """Hold, call, settle; at the limit, do as the tracker's `on_exhausted` says."""
        asked = Asked(messages, tools, tool_choice, json_output, extra_create_args or {})
        if not self.payers.trackers:  # detached meanwhile
            return await self.client.create(
                **asked.arguments(), cancellation_token=cancellation_token
            )
        with self._noting():
            return await spoken(
                lambda word: self._create(asked, cancellation_token, word), self._last_word
            )

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: ToolChoice = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Streaming version of `create`; a stream whose hold is spent is broken off."""
        asked = Asked(messages, tools, tool_choice, json_output, extra_create_args or {})
        if not self.payers.trackers:  # detached meanwhile
            stream = self.client.create_stream(
                **asked.arguments(), cancellation_token=cancellation_token
            )
        else:
            stream = streamed(
                lambda word: self._stream(asked, cancellation_token, word), self._last_word
            )
        with self._noting():
            async with aclosing(stream):
                async for part in stream:
                    yield part

    def _last_word(self, error: BudgetExhausted) -> LastWord:
        word = self.payers.last_word(error)
        return word if word.answer is None else word._replace(answer=said(word.answer))

    async def _create(
        self, asked: Asked, token: CancellationToken | None, word: LastWord | None
    ) -> CreateResult:
        asked = asked if word is None else final_ask(self.client, asked, word.wrap_up)
        sdk, call = self._sender, await self._open(asked, token, word)
        with ending(call, sdk=sdk):
            with visible(call):
                arguments = asked.arguments(**cap_setting(self.client, call, self._guarded))
                result = await self.client.create(**arguments, cancellation_token=token)
            self._conclude(call, result)
            whole(call, result, text=_is_text(asked, result))
        return result if word is None else final_answer(result)

    async def _stream(
        self, asked: Asked, token: CancellationToken | None, word: LastWord | None
    ) -> AsyncGenerator[str | CreateResult, None]:
        asked = asked if word is None else final_ask(self.client, asked, word.wrap_up)
        sdk, call = self._sender, await self._open(asked, token, word)
        try:
            with ending(call, sdk=sdk):
                extra = {
                    **stream_setting(self.client, asked.extra),
                    **cap_setting(self.client, call, self._guarded),
                }
                arguments = asked.arguments(**extra)
                inner = self.client.create_stream(**arguments, cancellation_token=token)
                async with aclosing(stepped(inner, lambda: visible(call))) as stream:
                    async for part in stream:
                        if isinstance(part, CreateResult):
                            self._conclude(call, part)
                            whole(call, part, text=_is_text(asked, part))
                        elif not call.claimed:
                            await call.meter_async(part)
                        yield part if word is None else final_part(part)
        except BaseException:
            call.settle(None)  # the client leaves the connection open: nothing else would end it
            raise

    async def _open(
        self, asked: Asked, token: CancellationToken | None, word: LastWord | None
    ) -> Call:
        """Hold the call, waiting for money if need be, until the run is cancelled."""
        self.payers.guard()
        payer = self.payers.session if word is None else word.session
        payers = self.payers
        request = request_of(self.client, asked, self.model, payers.agent, payers.agent_id)
        joining = self.payers.joining_for(payer)
        opening = asyncio.ensure_future(payer.open_call_async(request, joining=joining))
        if token is not None:
            token.link_future(opening)
        try:
            return await opening
        except asyncio.CancelledError:
            opening.add_done_callback(_unwanted)
            raise

    def _conclude(self, call: Call, result: CreateResult) -> None:
        if result.cached:
            call.abort()
            return
        usage = result.usage
        ended = {"length": True, "stop": False}.get(result.finish_reason)
        receipt = Receipt(Usage(usage.prompt_tokens, usage.completion_tokens), cut=ended)
        finish(call, receipt, shown(result))
        if call.usage is not None and not (usage.prompt_tokens or usage.completion_tokens):
            result.usage = RequestUsage(call.usage.input, call.usage.output)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keep the error that ends a call, for a team that gets to see only its text."""
        try:
            yield
        except AgentBudgetError as error:
            self.payers.note(error)
            raise

    @property
    def _sender(self) -> str | None:
        return sender_of(self.client, ChatCompletionClient, "create", "create_stream")

    @property
    def _guarded(self) -> bool:
        return any(tracker.guard_sdks for tracker in self.payers.trackers)

    # -- the client within -------------------------------------------------------------------

    async def close(self) -> None:
        """Close the client within."""
        await self.client.close()

    def actual_usage(self) -> RequestUsage:
        """Return the tokens that the client within was billed for."""
        return self.client.actual_usage()

    def total_usage(self) -> RequestUsage:
        """Return the tokens of the client within, cached answers included."""
        return self.client.total_usage()

    def count_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Count tokens as the client within does."""
        return self.client.count_tokens(messages, tools=tools)

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return what is left of the context window, as the client within counts."""
        return self.client.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> Any:
        """What the client within can do; AutoGen has replaced it by `model_info`."""
        return self.client.capabilities

    @property
    def model_info(self) -> ModelInfo:
        """What the client within can do."""
        return self.client.model_info

    # -- as a component ----------------------------------------------------------------------

    def _to_config(self) -> BudgetedClientConfig:
        return BudgetedClientConfig(
            client=self.client.dump_component(),
            trackers=[save_tracker(tracker) for tracker in self.payers.attached],
            model=self.model,
            agent=self.payers.agent,
            speaks=self.payers.speaks,
            stand_in=self.payers.stand_in,
        )

    @classmethod
    def _from_config(cls, config: BudgetedClientConfig) -> Self:
        first, *others = [load_tracker(saved) for saved in config.trackers]
        inner = ChatCompletionClient.load_component(config.client)
        client = cls(inner, tracker=first, model=config.model, agent=config.agent)
        client.payers.speaks, client.payers.stand_in = config.speaks, config.stand_in
        for tracker in others:
            client.payers.add(tracker)
        return client

    def __repr__(self) -> str:
        return f"<BudgetedChatCompletionClient {self.model} {self.payers.session!r}>"


def _unwanted(opening: asyncio.Future[Call]) -> None:
    """Give back a hold that came when it was no longer waited for."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().release()


def _is_text(asked: Asked, result: CreateResult) -> bool:
    """Return whether an answer is a text, of which a part says something too."""
    return not asked.json_output and isinstance(result.content, str)
