"""What a session records after the fact: tools' costs and models' responses."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar, cast

from budget_core.calls.prompt import snapshot
from budget_core.calls.request import CallRequest
from budget_core.errors import LoopDetected
from budget_core.money.amounts import Amounts
from budget_core.money.usd import Money, parse_cost
from budget_core.runtime.background import asked
from budget_core.session.recording import is_settled, wrapped
from budget_core.session.session_payer import SessionPayer

T = TypeVar("T")


class Recording(SessionPayer):
    """Records what was spent without a hold."""

    def track(
        self,
        result: T = None,  # type: ignore[assignment]
        cost: Money = 0,
        tool_name: str = "tool",
        *,
        arguments: Any = None,
    ) -> T:
        """Record what a tool cost, in dollars, after the fact; return `result`.

        In an event loop, a ledger that blocks is told in the background: there a spend over the
        limit raises at the next cost that is recorded.

        Args:
            result: of the tool.
            cost: dollars.
            tool_name: as the report names it.
            arguments: of the tool: the same ones again and again are a loop. Without them nothing
                tells one call from another.

        Raises:
            BudgetExhausted: this brought the spend over the limit. It is recorded all the same,
                and the error carries `result`.
            LoopDetected: likewise.
        """
        nanos = parse_cost(cost)
        request = CallRequest(kind="tool", name=tool_name, cost=nanos)
        record = self.record if self.blocks else self._charge
        error = record(request, tuple.__new__(Amounts, (nanos, 0, 0, 1)))
        if error is not None:
            raise error.carrying(result)
        if arguments is not None:
            self._look_for_loop(request, arguments, result)
        return result

    def wrap(self, response: T, *, arguments: Any = None) -> T:
        """Record what an LLM response cost and return it; a stream is metered as it is read.

        Understands the responses of OpenAI, Anthropic and Google, and LangChain's messages. A
        response that a guard already settled costs nothing more.

        Args:
            response: of the provider.
            arguments: what the model was asked with, its messages say: the same ones again and
                again are a loop. Without them nothing tells one call from another.

        Raises:
            BudgetExhausted: this brought the spend over the limit; it is recorded all the same,
                and the error carries the response.
            UnknownModel: likewise, recorded as unpriced.
            LoopDetected: likewise.
        """
        result = cast("T", wrapped(self, response))
        if arguments is not None and not is_settled(response):  # a guard has looked for loops
            model = str(getattr(response, "model", None) or type(response).__name__)
            self._look_for_loop(CallRequest(model=model), arguments, result)
        return result

    async def wrap_async(self, response: Awaitable[T] | T, *, arguments: Any = None) -> T:
        """Await a response, or take one, and record it as `wrap` does."""
        if isinstance(response, Awaitable):
            response = await response
        wrap = partial(self.wrap, cast("T", response), arguments=arguments)
        return await asked(wrap, blocks=self.blocks)

    def _look_for_loop(self, recorded: CallRequest, arguments: Any, result: object) -> None:
        fingerprint = (recorded.name or recorded.model, snapshot(arguments))
        try:
            self._admission.repeated(recorded._replace(fingerprint=fingerprint))
        except LoopDetected as error:
            error.result = result
            raise
