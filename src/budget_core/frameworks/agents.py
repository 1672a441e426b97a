"""What the front objects of frameworks for agents have in common: a last word, and paid tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

from budget_core.errors import BudgetExhausted
from budget_core.frameworks.integration import Integration
from budget_core.frameworks.last_word import (
    TOOL_REFUSED,
    WRAP_UP,
    LastWord,
    may_finalize,
    spoken,
    spoken_sync,
    streamed,
)
from budget_core.money.limits import Limit
from budget_core.money.usd import Money
from budget_core.session.budget import AgentBudget

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession

T = TypeVar("T")
OnExhausted: TypeAlias = Literal["finalize", "raise"] | Callable[[BudgetExhausted], Any]


class AgentIntegration(Integration):
    """An `Integration` whose agents answer once more when the money runs out.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        on_exhausted: "finalize" makes one last call from the `finalization_reserve`, without
            tools and with `wrap_up`; if even that does not fit, the error propagates. "raise"
            lets it propagate at once. Where an adapter says so, a callable gets the error and
            returns the agent's last answer.
        wrap_up: what the model is told at its last call.
        **options: everything else that `Integration` and `AgentBudget` take.

    Attributes:
        calls_back: `on_exhausted` may be a callable.
    """

    calls_back: ClassVar[bool] = False

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        on_exhausted: OnExhausted = "finalize",
        wrap_up: str = WRAP_UP,
        **options: Any,
    ) -> None:
        self.on_exhausted: OnExhausted = self.checked(on_exhausted)
        self.wrap_up = wrap_up
        super().__init__(budget, **options)

    @classmethod
    def checked(cls, on_exhausted: OnExhausted) -> OnExhausted:
        """Return what was given for `on_exhausted`.

        Raises:
            ValueError: it cannot be that.
        """
        if on_exhausted in ("finalize", "raise") or (cls.calls_back and callable(on_exhausted)):
            return on_exhausted
        known = "'finalize', 'raise' or a callable" if cls.calls_back else "'finalize' or 'raise'"
        raise ValueError(f"on_exhausted= is {known}; got {on_exhausted!r}")

    def last_word(self, error: BudgetExhausted, session: BudgetSession) -> LastWord:
        """Return how an agent that was refused may end.

        Args:
            error: the refusal.
            session: whose reserve would pay.

        Raises:
            BudgetExhausted: the error given, if there is to be no last word.
        """
        if self.on_exhausted == "raise" or not may_finalize(session, error):
            raise error
        answer = self.on_exhausted(error) if callable(self.on_exhausted) else None
        return LastWord(session, self.wrap_up, answer)

    async def ask(self, agent: str | None, ask: Callable[[LastWord | None], Awaitable[T]]) -> T:
        """Ask a model for an agent; if that is refused, ask for the last word (see `spoken`).

        Args:
            agent: its name.
            ask: opens a call and asks; given a `LastWord`, for that.

        Raises:
            BudgetExhausted: there is no money, and nothing for a last word.
        """
        return await spoken(ask, self._payer(agent))

    def ask_sync(self, agent: str | None, ask: Callable[[LastWord | None], T]) -> T:
        """Blocking version of `ask`."""
        return spoken_sync(ask, self._payer(agent))

    def stream(
        self, agent: str | None, ask: Callable[[LastWord | None], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        """Stream what `ask` returns (see `streamed`)."""
        return streamed(ask, self._payer(agent))

    async def use(
        self,
        tool: str,
        arguments: Any,
        run: Callable[[str | None], Awaitable[T]],
        *,
        agent: str | None = None,
        mixin: type[BaseException] | None = None,
        agent_run: Hashable = None,
    ) -> T:
        """Pay for a tool and run it; a refusal is told to the model, for it to answer.

        Args:
            tool: its name.
            arguments: as the model gave them.
            run: runs it; given a text, it answers that instead.
            agent: who uses it.
            mixin: an error that the framework lets through (see `CallRequest`).
            agent_run: what tells a run of the agent from others (see `CallRequest`).

        Raises:
            BudgetExhausted: it, or what it does, is refused, with ``on_exhausted="raise"``.
        """
        request = self.tool_request(tool, arguments, agent=agent, mixin=mixin, agent_run=agent_run)
        try:
            with await self.session_of(agent).open_call_async(request):
                return await run(None)
        except BudgetExhausted as error:
            refusal = self.tool_refusal(tool, error)
        return await run(refusal)

    def use_sync(
        self,
        tool: str,
        arguments: Any,
        run: Callable[[str | None], T],
        *,
        agent: str | None = None,
        mixin: type[BaseException] | None = None,
        agent_run: Hashable = None,
    ) -> T:
        """Blocking version of `use`."""
        request = self.tool_request(tool, arguments, agent=agent, mixin=mixin, agent_run=agent_run)
        try:
            with self.session_of(agent).open_call(request):
                return run(None)
        except BudgetExhausted as error:
            refusal = self.tool_refusal(tool, error)
        return run(refusal)

    def tool_refusal(self, tool: str, error: BudgetExhausted) -> str:
        """Return what a model is told of a tool that was refused.

        Raises:
            BudgetExhausted: the error given, with ``on_exhausted="raise"``.
        """
        if self.on_exhausted == "raise":
            raise error
        return TOOL_REFUSED.format(tool=tool)

    def _payer(self, agent: str | None) -> Callable[[BudgetExhausted], LastWord]:
        return partial(self.last_word, session=self.session_of(agent))
