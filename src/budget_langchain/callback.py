"""`LangChainBudgetCallback`: a budget for everything that LangChain runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

from budget_core import AgentBudget, AgentBudgetError, BudgetSession
from budget_core.frameworks import WRAP_UP, AgentIntegration, OnExhausted, unread
from budget_core.frameworks.outcomes import unsent
from budget_core.money.limits import Limit
from budget_core.money.usd import Money
from budget_langchain import active, batches, outcomes, paying, runs
from budget_langchain.errors import bubble
from budget_langchain.events import holding, metering, silent
from budget_langchain.places import Places
from budget_langchain.requests import agent_name, has_form, model_request, offers_tools

if TYPE_CHECKING:
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult

    from budget_langchain.asking import Asking
    from budget_langchain.runs import Run


class LangChainBudgetCallback(AgentIntegration, BaseCallbackHandler):
    """Holds every model and tool call before it is made, and settles it afterwards.

    Use it with ``with`` or ``async with``, where it guards all that runs inside, or pass it as
    ``config={"callbacks": [callback]}``, or both: nothing is counted twice. A call that the
    budget cannot pay for is refused before a request is sent, in every way of running.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        tool_costs: dollars a call, by tool name. Other tools cost nothing, and are counted.
        agents: a limit for all calls of an agent, by its name (``create_agent(name=…)``) or by
            the name of a graph's node. It holds for the life of this callback, however often the
            agent is run, and covers the agents that this one uses as tools.
        on_exhausted: what `BudgetMiddleware` does at the limit; a callback alone only refuses.
        wrap_up: likewise, what the model is told at its last call.
        session: the session whose money it is, in place of `budget`; it is not closed at exit.
        name: the session's id; on a durable ledger the same name goes on where it left off.
        guard_sdks: guard the provider SDKs beneath, so that output is capped and usage exact.
        **options: everything else that `AgentBudget` takes.

    Raises:
        BudgetExhausted, LoopDetected, UnknownModel, Unbounded: from the run that is refused,
            each also a ``GraphBubbleUp`` where LangGraph is installed.
    """

    calls_back = True
    raise_error = True
    run_inline = True

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        on_exhausted: OnExhausted = "finalize",
        wrap_up: str = WRAP_UP,
        tool_costs: Mapping[str, Money] | None = None,
        agents: Mapping[str, Money | BudgetSession] | None = None,
        session: BudgetSession | None = None,
        name: str | None = None,
        guard_sdks: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            budget,
            on_exhausted=on_exhausted,
            wrap_up=wrap_up,
            tool_costs=tool_costs,
            agents=agents,
            session=session,
            name=name,
            guard_sdks=guard_sdks,
            **options,
        )
        self._runs: dict[UUID, Run] = {}
        self._places = Places()

    # -- what users read ---------------------------------------------------------------------

    def session_for(self, metadata: Mapping[str, Any]) -> BudgetSession:
        """Return the session that pays for a run: its agent's own if it has a limit of its own."""
        return self.session_of(agent_name(metadata))

    def end(self) -> None:
        """Pay no more for what is asked in this context."""
        self.sweep()
        super().end()

    def sweep(self) -> None:
        """End what LangChain never ended, as unknown: silence is never free."""
        while self._runs:
            _, run = self._runs.popitem()
            run.call.finish()

    # -- runs --------------------------------------------------------------------------------

    @silent
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,  # noqa: ARG002
        inputs: Any,  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_kwargs: Any,
    ) -> None:
        """Record where in a graph a run is, to tell an agent's loop from several agents."""
        self._places.begin(run_id, parent_run_id, metadata or {}, name)

    @silent
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_kwargs: Any) -> None:  # noqa: ARG002
        """Forget a run that ended."""
        self._places.end(run_id)

    @silent
    def on_chain_error(
        self,
        error: BaseException,  # noqa: ARG002
        *,
        run_id: UUID,
        **_kwargs: Any,
    ) -> None:
        """Forget a run that failed."""
        self._places.end(run_id)

    # -- models ------------------------------------------------------------------------------

    @holding
    async def on_chat_model_start(
        self,
        asking: Asking,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hold a chat model's call, or raise before a request is sent."""
        await self._start_model(
            asking, serialized, messages[0], run_id, metadata or {}, kwargs, chat=True
        )

    @holding
    async def on_llm_start(
        self,
        asking: Asking,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hold a completion model's call, or raise before a request is sent."""
        await self._start_model(
            asking, serialized, prompts, run_id, metadata or {}, kwargs, chat=False
        )

    @metering
    async def on_llm_new_token(
        self, asking: Asking, token: Any, *, run_id: UUID, chunk: Any = None, **_kwargs: Any
    ) -> None:
        """Meter a stream that no SDK guard meters; raises when its hold is spent."""
        await self._meter(asking, run_id, "token", outcomes.streamed_text(token, chunk))

    @metering
    async def on_stream_event(
        self, asking: Asking, event: Any, *, run_id: UUID, **_kwargs: Any
    ) -> None:
        """Meter a stream of protocol events likewise."""
        if isinstance(event, Mapping):
            await self._meter(
                asking, run_id, "event", outcomes.streamed_text([event.get("delta") or ()], None)
            )

    @silent
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_kwargs: Any) -> None:
        """Settle the call; one that an SDK guard took over is settled already.

        Raises:
            AnswerTruncated: the money has cut the answer, and an agent would go on with it, or
                nobody could: a tool's arguments, an answer in a form, nothing at all.
        """
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        if run.batch is not None and not run.chat:
            batches.pay(self._runs, run, response)
        if run.paid or outcomes.was_cached(response):
            run.call.abort()
        else:
            outcomes.finish(run.call, response)
            if run.batch is None:
                outcomes.check(run, response)

    @silent
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> None:
        """Release the call if the error proves that nothing is billed; else charge its hold.

        Raises:
            AnswerTruncated: the error came of an answer that the money has cut.
        """
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        run.fail(error)
        if run.chat and run.batch is not None:
            batches.abandon(self._runs, run)
        if isinstance(error, Exception) and not isinstance(error, AgentBudgetError):
            unread(run.call, error)

    # -- tools -------------------------------------------------------------------------------

    @holding
    async def on_tool_start(
        self,
        asking: Asking,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hold a tool's cost, and count it."""
        metadata = metadata or {}
        name = (serialized or {}).get("name") or kwargs.get("name") or "tool"
        arguments = input_str if inputs is None else inputs
        place = self._places.of(kwargs.get("parent_run_id"), metadata)
        request = self.tool_request(
            name, arguments, agent=agent_name(metadata), mixin=bubble(), agent_run=place
        )
        session = self.session_for(metadata)
        run = await paying.tool_run(asking, self, run_id, request, session)
        with unsent(run.call):
            self._keep(run_id, run)

    @silent
    def on_tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> None:  # noqa: ARG002
        """Charge the tool's cost."""
        if (run := self._runs.pop(run_id, None)) is not None:
            run.call.finish()

    @silent
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> None:
        """Charge a tool that failed; one that stopped to ask a human will start again."""
        if (run := self._runs.pop(run_id, None)) is not None:
            run.end(unbilled=outcomes.interrupted(error))

    # -- inside ------------------------------------------------------------------------------

    async def _start_model(
        self,
        asking: Asking,
        serialized: Mapping[str, Any] | None,
        messages: Any,
        run_id: UUID,
        metadata: Mapping[str, Any],
        said: Mapping[str, Any],
        *,
        chat: bool,
    ) -> None:
        params = said.get("invocation_params") or {}
        batch = params if (said.get("batch_size") or 1) > 1 else None
        try:
            self.guard()
            session = self.session_for(metadata)
            request = model_request(
                messages,
                serialized=serialized,
                metadata=metadata,
                params=params,
                agent_run=self._places.of(said.get("parent_run_id"), metadata),
            )
            run = await paying.model_run(
                asking, self, run_id, request, session, batch=batch, chat=chat
            )
        except BaseException:
            if batch is not None:
                batches.release(self._runs, batch)
            raise
        with unsent(run.call):
            run.agents = "langgraph_node" in metadata or offers_tools(params)
            run.formed = has_form(params)
            self._keep(run_id, run)

    async def _meter(self, asking: Asking, run_id: UUID, source: str, text: str) -> None:
        run = self._runs.get(run_id)
        if run is not None and run.owner is self and run.open and text and run.heard(source):
            await asking.meter(run.call, text)

    def _keep(self, run_id: UUID, run: Run) -> None:
        runs.remember(run_id, run)
        self._runs[run_id] = run


active.add_to_runs(LangChainBudgetCallback.all_active)
