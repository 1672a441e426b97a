"""One guarded LLM or tool call: estimate → reserve → (meter the stream) → settle."""

from __future__ import annotations

import asyncio
from functools import partial
from threading import Lock
from time import time
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from budget_core.calls import context
from budget_core.calls.partial import written
from budget_core.calls.payer import everyone, groups_of
from budget_core.calls.responses import read_receipt
from budget_core.errors import AgentBudgetError
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.prices.output_limits import is_reasoning
from budget_core.money.usage import NO_RECEIPT, Receipt, Usage
from budget_core.runtime.background import asked, in_asyncio, told
from budget_core.runtime.finalizers import collecting, later

if TYPE_CHECKING:
    from collections.abc import Callable

    from budget_core.calls.payer import Payer
    from budget_core.calls.quote import Quote
    from budget_core.calls.request import CallRequest
    from budget_core.ledger.reservation import Group, Reservation

State: TypeAlias = Literal["open", "adopted", "left", "settled", "over"]
"""Who a call still belongs to.

open: to its opener. adopted: to a guard beneath, while the framework that opened it goes on.
left: to the guard alone. settled: the guard has ended it, and the framework goes on: a retry of its
own still belongs here, and pays for itself. over: to none.
"""

_SEEN_EXTRA = 64
"""Tokens that a stream may have cost beyond the bytes that were visible."""


class Call:
    """A call that is being paid for. Ends once: by `settle` or by `release`.

    As a context manager it settles as unknown if it was not ended before: silence is never free.

    Attributes:
        payer: in whose name it is held.
        payers: all who pay for it, parents included.
        began: Unix time at which it got its hold.
        guarded: an SDK's guard opened it for one request, which nothing else is a part of.
        model: that answered, once settled; None if it was not told.
        priced: its model has a price.
        cost: nanos, once settled.
        source: "provider" if that is what the provider itself says it cost.
        wired: the cap is on the wire, so the provider itself stops there.
        shortened: a cap of ours is on the wire, although above what was then held.
        risks: tags of what its prompt holds, where its session looks for that.
        truncated: once settled: the cap that its hold pays for has cut the answer, which neither
            its caller nor the model's own maximum would have done.
        number: how many LLM calls its payer has had by then, once settled.
        inside: the framework's call of which this one is a part, a retry say.
        ended: it was settled or released.
    """

    __slots__ = (
        "__weakref__", "_left", "_lock", "_prompts", "_seen", "_state", "began", "cost", "ended",
        "guarded", "inside", "model", "number", "output", "payer", "payers", "priced", "quote",
        "request", "reservation", "risks", "shortened", "source", "truncated", "usage", "wired",
    )  # fmt: skip

    def __init__(
        self,
        payer: Payer,
        payers: tuple[Payer, ...],
        request: CallRequest,
        reservation: Reservation,
        quote: Quote | None,
        output: int,
    ) -> None:
        self.payer = payer
        self.payers = payers
        self.request = request
        self.reservation = reservation
        self.quote = quote
        self.output = output
        self.guarded = False
        self.wired = quote is not None and quote.capped and output == quote.most
        self.began = time()
        self.risks: tuple[str, ...] = ()
        self.cost = self.number = 0
        self.model: str | None = None
        self.priced = quote is None or quote.rates is not None
        self.usage: Usage | None = None
        self.source: str | None = None
        self.truncated = self.shortened = False
        self.inside: Call | None = None
        self._state: State = "open"
        self.ended = False
        self._seen = 0
        self._left: int | None = None
        self._prompts = [request.prompt] if request.prompt is not None else []
        self._lock = Lock()

    @property
    def session(self) -> Any:
        """The `BudgetSession` that pays."""
        return self.payer

    @property
    def sessions(self) -> tuple[Any, ...]:
        """All sessions that pay, parents included."""
        return self.payers

    @property
    def kind(self) -> str:
        """``"llm"`` or ``"tool"``."""
        return self.request.kind

    @property
    def id(self) -> str:
        """The id of its hold."""
        return self.reservation.id

    @property
    def cap(self) -> int | None:
        """The most output tokens of one answer that the hold pays for; None for tools."""
        return self.output // self.quote.n if self.quote is not None else None

    @property
    def limited(self) -> bool:
        """The cap on the wire is lower than its caller's own, or the model's, to fit the money."""
        capped = self.wired or self.shortened
        return capped and self.quote is not None and self.output < self.quote.most

    @property
    def claimed(self) -> bool:
        """An SDK's guard settles this call, or has: its opener leaves that to the guard."""
        return self._state in ("adopted", "left", "settled")

    @property
    def over(self) -> bool:
        """Nothing belongs to this call any more (see `State`)."""
        return self._state in ("left", "over") or self.payer.closed

    def claim(self) -> bool:
        """Adopt the call; True for the first guard that asks while it is open."""
        with self._lock:
            if self._state != "open" or self.kind != "llm":
                return False
            self._state = "adopted"
            return True

    def reprice(self, request: CallRequest, joining: tuple[Payer, ...] = ()) -> None:
        """Price the call again as it will really be sent, and adapt the hold to that.

        Args:
            request: read off the final request.
            joining: payers that are to hold it too.

        Raises:
            BudgetExhausted: it does not fit; the hold is released.
            UnknownModel, Unbounded: likewise.
        """
        try:
            self._reprice(request, joining)
        except AgentBudgetError as error:
            self.release()
            raise error.recast(self.request.mixin) from None
        except BaseException:
            self.release()
            raise

    async def reprice_async(self, request: CallRequest, joining: tuple[Payer, ...] = ()) -> None:
        """Async version of `reprice`: a ledger that blocks is asked in a thread."""
        groups = groups_of(joining) if joining else ()
        if not (self.reservation.blocks or any(group.ledger.blocks for group in groups)):
            self.reprice(request, joining)
            return
        if not in_asyncio():
            await asked(partial(self.reprice, request, joining), blocks=True)
            return
        asking = asyncio.ensure_future(asyncio.to_thread(self.reprice, request, joining))
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._unsent)  # not sent: the thread goes on
            raise

    def _unsent(self, asking: asyncio.Future[None]) -> None:
        asking.exception()  # which is not waited for any more
        self.release()

    def _reprice(self, request: CallRequest, joining: tuple[Payer, ...]) -> None:
        groups = groups_of(joining) if joining else ()
        for payer in joining:
            payer.start()
        if self.request.fingerprint is not None:
            request = request._replace(fingerprint=None)  # it was counted when it was opened
        request, risks, _ = self.payer.admit(request)
        self.risks = risks or self.risks
        if self.kind == "tool":
            self._reprice_tool(request, groups)
        else:
            self._reprice_model(request, groups)
        if joining:
            self.payers = tuple(dict.fromkeys((*self.payers, *everyone(joining))))
        self.request = _merged(self.request, request)

    def _reprice_tool(self, request: CallRequest, groups: tuple[Group, ...]) -> None:
        cost = max(self.request.cost, request.cost)
        self.request = self.request._replace(cost=cost)
        amounts = self.reservation.amounts._replace(usd=cost)
        if (refusal := self.reservation.extend(amounts, groups)) is not None:
            raise self.payer.refused(refusal, request)

    def _reprice_model(self, request: CallRequest, groups: tuple[Group, ...]) -> None:
        payer, reservation = self.payer, self.reservation
        if request.ceiling is not None and request.ceiling == self.cap and self.quote is not None:
            ours = self.output < self.quote.most  # an adapter has put this call's own cap there
            request = request._replace(ceiling=None) if ours else request
        quote = payer.estimator.quote(request)
        output = quote.most if quote.capped else min(quote.most, self.output)
        refusal = reservation.extend(quote.amounts(output), groups)
        if refusal is not None:
            least = 0 if reservation.final else payer.likely(request.model)
            cut = quote.squeezed(reservation.headroom_with(groups), least)
            if cut is None or (refusal := reservation.extend(quote.amounts(cut), groups)):
                raise payer.refused(refusal, request)
            output = cut
        self.quote, self.output = quote, output
        if request.prompt is not None:
            self._prompts.append(request.prompt)

    def meter(self, seen: str | int) -> None:
        """Count output as it arrives: a piece of text, or a count of tokens.

        A piece counts as one token at least. Where the cap is not on the wire, a long one counts
        as more, and the hold grows with what is seen while it can.

        Raises:
            BudgetExhausted: the hold is spent. Close the stream, then settle.
        """
        if not seen:
            return
        if self.ended:  # it was swept with its session, and its hold was charged
            raise self.payer.stopped(self)
        self._seen += seen if isinstance(seen, int) else 1 if self.wired else _tokens_in(seen)
        if self._seen <= self.output or self.quote is None:
            return
        if not self.wired:
            for output in (2 * self._seen, self._seen):
                if self.reservation.extend(self.quote.amounts(output)) is None:
                    self.output = output
                    return
        raise self.payer.stopped(self)

    async def meter_async(self, seen: str | int) -> None:
        """Async version of `meter`: a ledger that blocks is asked in a thread."""
        size = seen if isinstance(seen, int) else len(seen)
        await asked(partial(self.meter, seen), blocks=self.asks(size))

    def asks(self, size: int) -> bool:
        """Return whether `meter` may ask a ledger that blocks, for `size` more bytes."""
        return self.reservation.blocks and self._seen + size > self.output

    def settle(
        self,
        outcome: Any = None,
        *,
        model: str | None = None,
        cut: Callable[[], bool | None] | None = None,
    ) -> None:
        """End the call with what it really cost; the rest of the hold is free again.

        Args:
            outcome: a `Usage`, a `Receipt`, the provider's response in any shape, or None if it
                was (or may have been) billed and it is not told how much: then the whole hold is.
            model: the model that answered, where `outcome` does not say.
            cut: tells whether the answer met a cap (see `Receipt`), where `outcome` does not say.
        """
        if collecting():
            later(partial(self.settle, outcome, model=model, cut=cut))
            return
        if self.ended:
            return
        if isinstance(outcome, Usage):
            outcome = tuple.__new__(Receipt, (outcome, model, *NO_RECEIPT[2:]))
        sound = type(outcome) is Receipt and outcome.usage is not None and outcome.usage.known
        receipt: Receipt = outcome if sound and not model else _receipt(outcome, model)
        came = self.payer.estimator.price(self.request, receipt, self.quote)
        if not self._end():  # not before: plugins were asked, and Ctrl-C may have come
            return
        if came is None:
            self.priced = self.priced and not self.request.unpriced
            left = self.reservation.amounts
            if self._left is not None and self.quote is not None:
                left = self.quote.amounts(self._left)
            amounts = Amounts(*map(max, left, self.metered))
        else:
            amounts, self.priced, self.source = came
        self.usage, self.model, self.cost = receipt.usage, receipt.model, amounts.usd
        if self.quote is not None and self.output < self.quote.most:
            self._note_cut(receipt, cut)
        if self.reservation.blocks:
            told(partial(self._commit, amounts), blocks=True)
        else:
            self._commit(amounts)

    def leave_off(
        self, receipt: Receipt, *, seen: int = 0, pace: float = 0.0, hidden: bool = True
    ) -> None:
        """End the call before its answer is whole: with what can have been written by then.

        With `on_broken="hold"` the whole hold is charged.

        Args:
            receipt: what was told of it so far, its input say.
            seen: bytes of the answer that arrived.
            pace: tokens a second at which they came.
            hidden: what the model thought, if it can, was not shown, or not in full.
        """
        usage, quote = receipt.usage, self.quote
        if quote is not None and not self.payer.estimator.charges_holds:
            hidden = hidden and is_reasoning(self.request.model)
            most = written(seen, pace, time() - self.began, hidden=hidden)
            # where the cap is not on the wire, or ignored, the hold is no bound of what was written
            bound = self.wired and self._seen <= self.output
            self._left = min(self.output, most) if bound else most
            if usage is not None and usage.input:
                self.settle(receipt._replace(usage=usage._replace(output=self._left)))
                return
        self.settle(receipt._replace(usage=None))

    def finish(self, outcome: Any = None) -> None:
        """Say, as the framework that opened it, that the call is over.

        Settles with `outcome` (see `settle`), unless a guard beneath has adopted the call.
        """
        if not self._leave():
            self.settle(outcome)

    def abort(self) -> None:
        """Say, as the framework that opened it, that the call failed and was not billed.

        Releases it, unless a guard beneath has adopted it and knows better.
        """
        if not self._leave():
            self.release()

    def release(self) -> None:
        """End the call: nothing was billed, because it was never sent or the provider refused."""
        if collecting():
            later(self.release)
        elif self._end():
            told(self.reservation.release, blocks=self.reservation.blocks)
            for payer in self.payers:
                payer.released(self)

    @property
    def metered(self) -> Amounts:
        """The most that was seen so far can have cost, as far as it was metered."""
        if self.quote is None:
            return ZERO
        extra = 0 if self.wired else _SEEN_EXTRA
        return self.quote.amounts(self._seen + extra) if self._seen else ZERO

    def _leave(self) -> bool:
        """Leave the call to the guard that adopted it; False if none did."""
        with self._lock:
            adopted = self.claimed
            if self._state == "adopted":
                self._state = "left"
            elif self._state == "settled":
                self._state = "over"
        context.retire(self)
        return adopted

    def _end(self) -> bool:
        with self._lock:
            if self.ended:
                return False
            self.ended = True
            self._state = "settled" if self._state == "adopted" else "over"
            inside = self._state == "settled"
        if not inside:
            context.retire(self)
        return True

    def _note_cut(self, receipt: Receipt, told: Callable[[], bool | None] | None) -> None:
        """Record whether it is the cap that has ended the answer of a `limited` call."""
        usage, quote = receipt.usage, self.quote
        met = receipt.cut if receipt.cut is not None or told is None else told()
        if quote is None or (usage is not None and usage.output * 2 * quote.n < self.output):
            return  # it ended far below: its context was full, or the server has a cap of its own
        if not (self.wired or self.shortened):  # as far as is known: whoever asked knows the cap
            met = met is not False and usage is not None and usage.output == self.output
        elif met is None:
            met = usage is not None and usage.output >= self.output
        self.truncated = met
        if met and self.inside is not None:
            self.inside.truncated = True

    def _commit(self, amounts: Amounts) -> None:
        entries = self.reservation.commit(amounts)
        if self.usage is not None and self.usage.input and self._prompts:
            one_hour = self.quote is not None and self.quote.one_hour
            self.payer.estimator.learn(
                self.request.model, self._prompts, self.usage, one_hour=one_hour
            )
        for payer in self.payers:  # all of them, before one is told that may stop this
            payer.count(self)
        for payer in self.payers:
            payer.ended(self, entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle(None)

    def __repr__(self) -> str:
        state = "ended" if self.ended else self._state
        return f"<Call {self.request.model or self.request.name} {self.id} {state}>"


def _tokens_in(piece: str) -> int:
    """Return how many tokens a piece of a stream has at least, as words go."""
    other = 0 if piece.isascii() else len(piece) - len(piece.encode("ascii", "ignore"))
    return max(1, (len(piece) - other) // 8 + other // 2)


def _receipt(outcome: Any, model: str | None) -> Receipt:
    receipt = outcome if isinstance(outcome, Receipt) else read_receipt(outcome)
    if receipt.usage is not None and not receipt.usage.known:
        receipt = receipt._replace(usage=None)
    return receipt if receipt.model or not model else receipt._replace(model=model)


def _merged(opened: CallRequest, final: CallRequest) -> CallRequest:
    """Keep who asked, what for, and how errors are cast; take the rest from what is sent."""
    return final._replace(
        fingerprint=opened.fingerprint or final.fingerprint,
        agent=opened.agent or final.agent,
        mixin=opened.mixin or final.mixin,
        cost=max(opened.cost, final.cost),
    )
