"""Recording what was spent without a hold: costs, responses, and streams as they are read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from budget_core.calls.estimator import Came, came_to, told_cost
from budget_core.calls.request import CallRequest
from budget_core.calls.responses import read_on, read_receipt
from budget_core.errors import AgentBudgetError, UnknownModel
from budget_core.ledger.reservation import Reservation
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.prices.lookup import settle_rates
from budget_core.money.prices.regions import surcharged
from budget_core.money.usage import Receipt, Usage, tier_of
from budget_core.runtime.background import asked, told
from budget_core.runtime.finalizers import when_dropped
from budget_core.runtime.signals import pass_on
from budget_core.runtime.weak import WeakValues

if TYPE_CHECKING:
    from budget_core.calls.estimator import Estimator
    from budget_core.calls.payer import Payer
    from budget_core.errors import BudgetExhausted
    from budget_core.ledger.reservation import Refusal
    from budget_core.session.standing import Standing

_log = logging.getLogger("budget_core")
_MARK: Final = "_budget_settled"
_unmarked: Final = WeakValues[int, Any]()
"""Settled, and not able to carry the mark; by id."""


class Recorder(Protocol):
    """Whose money is recorded as spent: a session."""

    @property
    def blocks(self) -> bool: ...
    @property
    def standing(self) -> Standing: ...
    @property
    def refuses_unpriced(self) -> bool: ...
    @property
    def estimator(self) -> Estimator: ...
    def top_ups(self) -> int: ...
    def approved(self, refusal: Refusal, before: int) -> bool: ...
    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted: ...
    def record(
        self,
        request: CallRequest,
        amounts: Amounts,
        usage: Usage | None,
        *,
        priced: bool,
        streamed: bool,
        source: str | None,
    ) -> BudgetExhausted | None: ...


class RecordedCall:
    """A call that nothing was held for, as payers see it."""

    ended = over = True
    guarded = truncated = False
    cap = quote = None
    output = 0
    number: int = 0
    metered = ZERO
    risks: tuple[str, ...] = ()

    def __init__(
        self,
        payer: Payer,
        request: CallRequest,
        reservation: Reservation,
        cost: int,
        usage: Usage | None,
        *,
        priced: bool,
        source: str | None = None,
    ) -> None:
        self.payer = payer
        self.request = request
        self.reservation = reservation
        self.cost = cost
        self.usage = usage
        self.priced = priced
        self.source = source
        self.model: str | None = None
        self.began = time()

    @property
    def kind(self) -> str:
        return self.request.kind

    @property
    def id(self) -> str:
        return self.reservation.id

    def settle(self, outcome: None) -> None:
        """Do nothing: it was charged."""


def mark_settled(response: Any) -> None:
    try:
        object.__setattr__(response, _MARK, True)
    except (AttributeError, TypeError):
        try:
            _unmarked[id(response)] = response  # a generator
        except TypeError:
            _log.debug("%s takes no mark", type(response).__name__)


def is_settled(response: Any) -> bool:
    if getattr(response, _MARK, False) is True:
        return True
    return response is not None and _unmarked.get(id(response)) is response


def wrapped(session: Recorder, response: Any) -> Any:
    """Record a response and return it, or return a stream that records itself."""
    if is_settled(response):
        return response
    if hasattr(response, "__next__"):
        return MeteredStream(session, response)
    if hasattr(response, "__anext__"):
        return AsyncMeteredStream(session, response)
    error = _recorded(session, _read(response))
    if error is not None:
        error.result = response
        raise error
    return response


def _read(response: Any) -> Receipt:
    """Read a receipt, with the model and the tier also where nothing is said of usage."""
    receipt = read_receipt(response)
    if receipt.usage is not None:
        return receipt
    model = _part(response, "model")
    return Receipt(
        None,
        receipt.model or (model if isinstance(model, str) and model else None),
        receipt.tier or tier_of(_part(response, "service_tier")),
    )


def _part(thing: Any, name: str) -> Any:
    try:
        return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
    except Exception as error:  # noqa: BLE001  whatever a foreign object's attributes may raise
        pass_on(error)
        return None


def _recorded(
    session: Recorder, receipt: Receipt, *, streamed: bool = False
) -> AgentBudgetError | None:
    request = CallRequest(model=receipt.model or "unknown")
    usage = receipt.usage
    unknown: UnknownModel | None = None
    came = Came(Amounts(0, 0 if usage is None else usage.total, 1, 0), priced=False)
    try:
        if usage is not None and receipt.cost is not None and session.estimator.told_costs:
            came = told_cost(receipt, usage, receipt.cost)
        else:
            price = settle_rates(request.model, receipt.model, None, receipt.tier)
            price = surcharged(price, "anthropic", receipt.region, request.model)
            came = came if usage is None else came_to(receipt, usage, price, None)
            if usage is not None and price.silent(usage):
                unknown = UnknownModel(request.model, what="audio of ")
    except UnknownModel as error:
        unknown = error
    amounts, priced, source = came
    if not priced:
        _log.warning(
            "A response without a price or usage was recorded as unpriced: %s", request.model
        )
    exhausted = session.record(
        request, amounts, usage, priced=priced, streamed=streamed, source=source
    )
    return exhausted or (unknown if session.refuses_unpriced else None)


class _Meter:
    """Adds up a stream that nothing was held for; stops it when the budget is spent."""

    def __init__(self, session: Recorder) -> None:
        self._session = session
        self._receipt = Receipt(None)
        self._pieces = 0
        self._done = False

    def chunk(self, chunk: Any) -> AgentBudgetError | None:
        """Add a chunk; return why the stream has to stop, if it has to."""
        self._pieces += 1
        self._receipt = read_on(self._receipt, chunk, foreign=True)
        return self._refusal()

    def end(self) -> AgentBudgetError | None:
        if self._done:
            return None
        self._done = True
        if self._receipt.usage is None and self._pieces:
            _log.warning(
                "A stream ended without usage: its output was counted by its chunks, its input is "
                "not known. Guard the client, or ask the provider for usage in streams."
            )
            self._receipt = self._receipt._replace(usage=Usage(output=self._pieces))
        return _recorded(self._session, self._receipt, streamed=True)

    def _refusal(self) -> AgentBudgetError | None:
        """Ask for what was seen so far; nothing is held for it, as it is spent already."""
        usage = self._receipt.usage or Usage(output=self._pieces)
        if self._pieces > usage.output:
            usage = usage._replace(output=self._pieces)
        try:
            price = settle_rates("", self._receipt.model, None, self._receipt.tier)
        except UnknownModel:
            return None
        session, cost = self._session, price.cost(usage)
        if not session.standing.would_exceed(cost):
            return None
        before = session.top_ups()
        attempt = Reservation(session.standing.groups, session.standing.final())
        refusal = attempt.reserve(Amounts(usd=cost, tokens=usage.total))
        if refusal is None:
            attempt.release()
            return None
        if refusal.denial.state == "closed" or session.approved(refusal, before):
            return None
        return session.refused(refusal, CallRequest(model=self._receipt.model or "unknown"))


class MeteredStream:
    """A synchronous stream that records itself; everything else is the stream's own."""

    def __init__(self, session: Recorder, stream: Any) -> None:
        self._stream = stream
        self._meter = _Meter(session)
        when_dropped(self, self._meter.end)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._stream)
        except StopIteration:
            self._end()
            raise
        except BaseException:
            self._meter.end()
            raise
        if (stop := self._meter.chunk(chunk)) is not None:
            self.close()
            raise stop
        return chunk

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()
        self._end()

    def _end(self) -> None:
        if (error := self._meter.end()) is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class AsyncMeteredStream:
    """An asynchronous stream that records itself; everything else is the stream's own."""

    def __init__(self, session: Recorder, stream: Any) -> None:
        self._stream = stream
        self._meter = _Meter(session)
        when_dropped(self, self._meter.end)
        self._blocks = session.blocks

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._stream)
        except StopAsyncIteration:
            await self._end()
            raise
        except BaseException:
            told(self._meter.end, blocks=self._blocks)
            raise
        stop = await asked(partial(self._meter.chunk, chunk), blocks=self._blocks)
        if stop is not None:
            await self.close()
            raise stop
        return chunk

    async def close(self) -> None:
        close = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
        await self._end()

    async def _end(self) -> None:
        if (error := await asked(self._meter.end, blocks=self._blocks)) is not None:
            raise error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
