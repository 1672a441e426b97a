"""What the front objects of frameworks for agents have in common: a last word, and paid tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal, TypeVar

from budget_core.errors import BudgetExhausted
from budget_core.frameworks.integration import Integration
from budget_core.frameworks.last_word import TOOL_REFUSED, spoken, streamed
from budget_core.money.limits import Limit
from budget_core.money.usd import Money
from budget_core.session.budget import AgentBudget

T = TypeVar("T")


class AgentIntegration(Integration):
    """An `Integration` whose agents answer once more when the money runs out.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`; None for no limit in dollars.
        on_exhausted: "finalize" makes one last call from the `finalization_reserve`, without
            tools; "raise" lets `BudgetExhausted` out at once.
        **options: everything else that `Integration` and `AgentBudget` take.
    """

    def __init__(
        self,
        budget: Money | Limit | AgentBudget | None = None,
        *,
        on_exhausted: Literal["finalize", "raise"] = "finalize",
        **options: Any,
    ) -> None:
        if on_exhausted not in ("finalize", "raise"):
            raise ValueError(f"on_exhausted= is 'finalize' or 'raise'; got {on_exhausted!r}")
        super().__init__(budget, **options)
        self.on_exhausted = on_exhausted

    async def ask(self, agent: str | None, ask: Callable[[bool], Awaitable[T]]) -> T:
        """Ask a model for an agent; if that is refused, ask for the last word (see `spoken`).

        Args:
            agent: its name.
            ask: opens a call and asks; told whether it is for the last word.

        Raises:
            BudgetExhausted: there is no money, and nothing for a last word.
        """
        return await spoken(ask, self.session_of(agent), finalize=self._finalizes)

    def stream(
        self, agent: str | None, ask: Callable[[bool], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        """Do what `ask` does, in parts (see `streamed`)."""
        return streamed(ask, self.session_of(agent), finalize=self._finalizes)

    async def use(
        self,
        tool: str,
        arguments: Any,
        run: Callable[[str | None], Awaitable[T]],
        *,
        agent: str | None = None,
        mixin: type[BaseException] | None = None,
    ) -> T:
        """Pay for a tool and run it; a refusal is told to the model, for it to answer.

        Args:
            tool: its name.
            arguments: as the model gave them.
            run: runs it; given a text, it answers that instead.
            agent: who uses it.
            mixin: an error that the framework lets through (see `CallRequest`).

        Raises:
            BudgetExhausted: it, or what it does, is refused, with ``on_exhausted="raise"``.
        """
        request = self.tool_request(tool, arguments, agent=agent, mixin=mixin)
        try:
            with await self.session_of(agent).open_call_async(request):
                return await run(None)
        except BudgetExhausted:
            if not self._finalizes:
                raise
        return await run(TOOL_REFUSED.format(tool=tool))

    @property
    def _finalizes(self) -> bool:
        return self.on_exhausted == "finalize"


__all__ = ["AgentIntegration"]
