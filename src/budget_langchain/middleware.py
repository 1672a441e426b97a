"""`BudgetMiddleware`: an agent that waits for money, and finishes its answer when it runs out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables.config import ensure_config

from budget_core import BudgetExhausted
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.frameworks import (
    TOOL_REFUSED,
    LastWord,
    given_or_new,
    may_finalize,
    spoken,
    spoken_sync,
)
from budget_core.frameworks.outcomes import unsent
from budget_core.sdk.installing import is_guarded
from budget_langchain import active
from budget_langchain.callback import LangChainBudgetCallback
from budget_langchain.events import silent
from budget_langchain.graphs import Marks
from budget_langchain.last_word import final_answer, final_request
from budget_langchain.models import agent_request, cap_setting, sdk_of, thinking_budget
from budget_langchain.paying import around
from budget_langchain.runs import Offer, offering

if TYPE_CHECKING:
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from budget_core import AgentBudget, BudgetSession, Call, CallRequest
    from budget_core.money.limits import Limit
    from budget_core.money.usd import Money

Answer: TypeAlias = str | AIMessage
OnExhausted: TypeAlias = (
    Literal["finalize", "raise"] | Callable[[BudgetExhausted], Answer | Awaitable[Answer]]
)
_KEPT_CONTEXTS: Final = 64


class BudgetMiddleware(AgentMiddleware[Any, Any, Any]):
    """A budget for an agent made by ``create_agent(middleware=[BudgetMiddleware("$5")])``.

    It does what `LangChainBudgetCallback` does, for the agent's whole run, models that other
    middlewares ask included; and what only a middleware can: wait for money, cap answers of models
    that no SDK guard caps, and let the agent finish from the reserve instead of dying. It brings
    its own callback; given one, it shares that one's session, and passing that one in ``config``
    as well counts nothing twice.

    Args:
        budget: "$5.00", 5, a `Limit`, an `AgentBudget`; or a callback to share.
        callback: a callback to share.
        on_exhausted: "finalize" makes one last call from the `finalization_reserve`, without
            tools and with `wrap_up`; if even that does not fit, the error propagates. "raise"
            lets it propagate at once. A callable gets the error and returns the final message.
            By default what the callback has, which is "finalize".
        wrap_up: what the model is told at its last call; by default what the callback has.
        **options: everything else that `LangChainBudgetCallback` takes.
    """

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | LangChainBudgetCallback | None = None,
        *,
        callback: LangChainBudgetCallback | None = None,
        on_exhausted: OnExhausted | None = None,
        wrap_up: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(budget, LangChainBudgetCallback):
            budget, callback = None, budget
        self.callback = given_or_new(LangChainBudgetCallback, callback, "callback", budget, options)
        self.wrap_up = self.callback.wrap_up if wrap_up is None else wrap_up
        self._on_exhausted = (
            self.callback.on_exhausted
            if on_exhausted is None
            else self.callback.checked(on_exhausted)
        )
        self.state_schema = _agents.mark(self, type(self).state_schema)
        self._contexts: dict[Any, Any] = {}

    @property
    def session(self) -> BudgetSession:
        """The session whose money it is."""
        return self.callback.session

    def get_report(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready (see `BudgetSession.report`)."""
        return self.callback.get_report()

    # -- models ------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Any:
        """Hold, call, settle; at the limit, do as `on_exhausted` says."""

        def ask(last: LastWord | None) -> Any:
            if last is None:
                return self._call(request, handler)
            return final_answer(self._call(final_request(request, last.wrap_up), handler))

        with self.callback.activated():
            return spoken_sync(ask, self._last_word)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """Async version of `wrap_model_call`."""

        async def ask(last: LastWord | None) -> Any:
            if last is None:
                return await self._call_async(request, handler)
            final = final_request(request, last.wrap_up)
            return final_answer(await self._call_async(final, handler))

        with self.callback.activated():
            return await spoken(ask, self._last_word)

    # -- tools -------------------------------------------------------------------------------

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Any:
        """Tell the model when the budget refused a tool or stopped an agent in it."""
        with self.callback.activated():
            try:
                return handler(request)
            except BudgetExhausted as error:
                return self._unaffordable(request, error)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Async version of `wrap_tool_call`."""
        with self.callback.activated():
            try:
                return await handler(request)
            except BudgetExhausted as error:
                return self._unaffordable(request, error)

    # -- inside ------------------------------------------------------------------------------

    def _call(self, request: ModelRequest[Any], handler: Callable[..., Any]) -> Any:
        session, asked = self._asked(request)
        if asked is None:
            return handler(request)
        call = session.open_call(asked, joining=around(session))
        with unsent(call):
            offer = Offer(call)
        try:
            with offering(offer):
                return handler(self._capped(request, offer.call))
        finally:
            self._conclude(request, offer)

    async def _call_async(
        self, request: ModelRequest[Any], handler: Callable[..., Awaitable[Any]]
    ) -> Any:
        session, asked = self._asked(request)
        if asked is None:
            return await handler(request)
        call = await session.open_call_async(asked, joining=around(session))
        with unsent(call):
            offer = Offer(call)
        try:
            with offering(offer):
                return await handler(self._capped(request, offer.call))
        finally:
            self._conclude(request, offer)

    def _asked(self, request: ModelRequest[Any]) -> tuple[BudgetSession, CallRequest | None]:
        context = self._contexts.get(_shape(request))
        return self._payer(), agent_request(request, _metadata(), context)

    def _payer(self) -> BudgetSession:
        return self.callback.session_for(_metadata())

    def _capped(self, request: ModelRequest[Any], call: Call) -> ModelRequest[Any]:
        """Put the cap on the wire, where no SDK guard will."""
        own, sdk = call.request.output_cap, sdk_of(request.model)
        if call.cap is None or (self.callback.guard_sdks and sdk and is_guarded(sdk)):
            return request
        if own is not None and call.cap >= own:
            return request
        if (least := thinking_budget(request)) >= call.cap:
            raise _too_short_to_think(call, least).recast(call.request.mixin)
        setting = cap_setting(request, call.cap)
        call.wired = setting is not None
        if setting is None:
            return request
        return request.override(model_settings={**request.model_settings, **setting})

    @silent
    def _conclude(self, request: ModelRequest[Any], offer: Offer) -> None:
        if not offer.taken:
            offer.call.abort()
        elif not offer.call.over:
            offer.call.finish()
        if offer.context is not None:
            while len(self._contexts) >= _KEPT_CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            self._contexts[_shape(request)] = offer.context

    def _last_word(self, error: BudgetExhausted) -> LastWord:
        session, how = self._payer(), self._on_exhausted
        if callable(how):
            said = how(error)
            return LastWord(session, answer=_awaited(said) if isawaitable(said) else _message(said))
        if how == "raise" or not may_finalize(session, error):
            raise error
        return LastWord(session, self.wrap_up)

    def _unaffordable(self, request: ToolCallRequest, error: BudgetExhausted) -> ToolMessage:
        over = isinstance(error, SessionFinalized) and self.session.owns(error)
        if over or isinstance(error, SessionCancelled) or self._on_exhausted == "raise":
            raise error
        call = request.tool_call
        return ToolMessage(
            content=TOOL_REFUSED.format(tool=call["name"]),
            tool_call_id=call["id"] or "",
            name=call["name"],
            status="error",
        )


def _shape(request: ModelRequest[Any]) -> tuple[Any, ...]:
    tools = tuple(getattr(tool, "name", None) or repr(tool) for tool in request.tools)
    settings = sorted(request.model_settings)
    return (
        id(request.model),
        tools,
        id(request.response_format),
        repr(request.tool_choice),
        *settings,
    )


def _metadata() -> dict[str, Any]:
    return ensure_config().get("metadata") or {}


async def _awaited(said: Awaitable[Answer]) -> AIMessage:
    return _message(await said)


def _message(said: object) -> AIMessage:
    if isinstance(said, AIMessage):
        return said
    if isinstance(said, str):
        return AIMessage(said)
    raise TypeError(f"on_exhausted returns the final message or its text; got {said!r}")


def _too_short_to_think(call: Call, least: int) -> BudgetExhausted:
    session = call.session
    return BudgetExhausted(
        f"{call.request.model} was refused before it was sent: session {session.id!r} can pay for "
        f"{call.cap} tokens of output, and its thinking alone may take {least}. Raise the limit, "
        "or lower the thinking budget.",
        limit=session.limit,
        account=session.account,
        session_id=session.id,
    )


_agents: Final[Marks[BudgetMiddleware]] = Marks()
active.add_to_runs(lambda: [middleware.callback for middleware in _agents.here()])
