"""One SDK call under guard: its attempts, each with a hold of its own, and its response."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from budget_core.calls.call import Call
from budget_core.calls.outcomes import handled, unbilled
from budget_core.calls.request import CallRequest
from budget_core.calls.responses import read_receipt
from budget_core.money.prices.output_limits import known_max_output
from budget_core.runtime.signals import pass_on
from budget_core.sdk.claims import Claim
from budget_core.sdk.endpoints import Body, Endpoint
from budget_core.sdk.stream_events import Event
from budget_core.sdk.streams import StreamMeter
from budget_core.session.recording import mark_settled
from budget_core.session.session import BudgetSession

current: ContextVar[Exchange | None] = ContextVar("budget_exchange", default=None)

_ABSENT: Final = object()


class Metering(NamedTuple):
    """What watches a stream: its meter, and which events its caller did not ask for."""

    meter: StreamMeter
    unwanted: Callable[[Event], bool] | None


class Exchange:
    """The guard's side of one call of the SDK, retries included.

    Args:
        claimed: who pays.
        endpoint: what is called.
        body: the request's body, as the caller wants it.
        provider: who serves it, if known.

    Attributes:
        body: what goes on the wire.
        call: of the latest attempt.
        sent: that attempt may have left.
    """

    def __init__(
        self, claimed: Claim, endpoint: Endpoint, body: Body, provider: str | None
    ) -> None:
        self.claim = claimed
        self.endpoint = endpoint
        self.provider = provider
        self.call: Call | None = None
        self.sent = False
        self.body = body
        self._asked = body
        self._streaming = False
        self._next: Call | None = None
        self._before = handled()

    # -- before the request ------------------------------------------------------------------

    def open(self) -> None:
        if not self._adopt():
            self._own(self._session.open_call(self._request(), joining=self.claim.joining))
        self._apply_cap()

    async def open_async(self) -> None:
        """Async version of `open`."""
        if (call := self.claim.pending) is not None:
            await call.reprice_async(self._request(again=True), self._joining_new(call))
            self.call = call
        else:
            self._own(
                await self._session.open_call_async(self._request(), joining=self.claim.joining)
            )
        self._apply_cap()

    async def retry_async(self) -> None:
        """Hold the next attempt where the SDK can await, if the ledger blocks."""
        call = self.call
        if call is not None and call.ended and call.reservation.blocks:
            self._next = await self._session.open_call_async(
                self._request(again=True), joining=call.sessions
            )

    def check(self, body: Body) -> Body:
        """Make sure, right before a body is built, that it is the one that is held.

        Args:
            body: what the SDK is about to send; where it moved the model into the URL
                (Bedrock, Vertex), it is without one.

        Returns:
            what to send instead.
        """
        retry, same = self.call is None or self.call.ended, body is self.body or body == self.body
        if same and not retry:
            return body
        moved: Body = {key: self._asked[key] for key in ("model", "stream") if key in self._asked}
        added = moved.keys() - body.keys()
        if not same:
            self._asked = {**moved, **self._without_cap(body)}
        if retry:
            # the attempt before it has been settled or released
            self._own(self._retried(same=same))
        elif self.call is not None:
            self.call.reprice(self._request(again=True))
        self._apply_cap()
        return {key: value for key, value in self.body.items() if key not in added}

    # -- after the request -------------------------------------------------------------------

    def attempt_failed(self, response: Any, error: BaseException | None) -> None:
        """End an attempt that brought no answer: an error's status, or no response at all."""
        self.sent = False
        if self.call is None or self.call.ended:
            return
        if unbilled(error, response, before=self._before):
            self.call.release()
        else:
            self.call.settle(None)

    def failed(self, error: BaseException) -> None:
        if self._next is not None:
            self._next.release()
        if not self.sent and self.call is not None:
            self.call.release()
            return
        self.attempt_failed(None, error)

    def returned(self) -> None:
        """End a call that brought a result without a response of the provider."""
        if self.call is None or self.call.ended or self._streaming:
            return
        if self.sent:
            self.call.settle(None)
        else:
            self.call.release()

    def streams(self) -> Metering | None:
        """Return what meters a body that is still to come; it settles the call."""
        if self.call is None:
            return None
        self._streaming = True
        stream_format = self.endpoint.stream_format
        unwanted = stream_format.only_usage if self.endpoint.silent(self._asked) else None
        return Metering(StreamMeter(self.call, stream_format), unwanted)

    def settle(self, result: Any, body: Callable[[], Any]) -> None:
        """Charge a complete response, as the provider itself says.

        Args:
            result: what the caller gets.
            body: reads the response as it came, for where `result` says nothing of its usage.
        """
        if self.call is None:
            return
        receipt = read_receipt(result)
        if receipt.usage is None:
            receipt = read_receipt(_read(body))
        self.call.session.answered(self.call, lambda: _read(body))
        self.call.settle(receipt)
        mark_settled(result)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _session(self) -> BudgetSession:
        return self.claim.session

    def _retried(self, *, same: bool) -> Call:
        """Return the call of a further attempt, whose hold may have been made already."""
        request, call = self._request(again=True), self._next
        if call is None:
            payers = self.call.sessions if self.call is not None else self.claim.joining
            return self._session.open_call(request, joining=payers)
        self._next = None
        if not same:
            call.reprice(request)
        return call

    def _own(self, call: Call) -> None:
        call.guarded = True
        counted = self.call or self.claim.beside
        if counted is not None and counted.kind == "llm" and call.request.fingerprint is None:
            # not counted again, but in flight: a sample of the same prompt beside it is no loop
            fingerprint = counted.request.fingerprint
            call.request = call.request._replace(fingerprint=fingerprint)
        self.call = call

    def _adopt(self) -> bool:
        call = self.claim.pending
        if call is None:
            return False
        call.reprice(self._request(again=True), self._joining_new(call))
        self.call = call
        return True

    def _joining_new(self, call: Call) -> tuple[BudgetSession, ...]:
        return tuple(s for s in self.claim.joining if s not in call.sessions)

    def _request(self, *, again: bool = False) -> CallRequest:
        request = self.endpoint.read(self._asked, self.provider)
        beside = self.claim.beside or self.claim.pending
        if beside is None:
            return request._replace(fingerprint=None) if again else request
        request = request._replace(agent=beside.request.agent, mixin=beside.request.mixin)
        if beside.kind != "llm":
            return request._replace(fingerprint=None) if again else request
        request = request._replace(fingerprint=None)  # the framework's call was counted
        if beside.request.output_cap is None:
            # what the framework sends is its default: no wish of the caller's
            request = request._replace(output_cap=None, ceiling=request.output_cap)
        return request

    def _without_cap(self, body: Body) -> Body:
        """Return a body without what the guard has put into it: its caller did not ask for that."""
        asked = dict(body)
        for key, value in self.body.items():
            before = self._asked.get(key, _ABSENT)
            if before is not value and asked.get(key, _ABSENT) == value:
                if before is _ABSENT:
                    del asked[key]
                else:
                    asked[key] = before
        return asked

    def _apply_cap(self) -> None:
        """Put what the hold pays for on the wire."""
        call, body = self.call, self._asked
        if call is None or call.quote is None:
            return
        if self.endpoint.silent(body):
            body = self.endpoint.with_usage(body)
        if call.output < call.quote.most or call.quote.capped:
            body = self.endpoint.capped(body, call.cap or 0, self.provider)
            call.wired = True
        else:
            call.wired = known_max_output(call.request.model) is not None
        self.body = body


def _read(body: Callable[[], Any]) -> Any:
    try:
        return body()
    except Exception as error:  # noqa: BLE001  not JSON, or not text: it then says nothing of its usage
        pass_on(error)
        return None
