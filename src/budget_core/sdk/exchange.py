"""One SDK call under guard: its attempts, each with a hold of its own, and its response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, Self

from budget_core.calls.call import Call
from budget_core.calls.fees import told_nanos
from budget_core.calls.outcomes import handled, unbilled
from budget_core.calls.request import CallRequest
from budget_core.calls.responses import met_cap, read_receipt
from budget_core.money.usage import NO_RECEIPT, Receipt
from budget_core.runtime.signals import pass_on
from budget_core.sdk import background
from budget_core.sdk.claims import Claim
from budget_core.sdk.endpoints import Body, Endpoint
from budget_core.sdk.hosts import Server
from budget_core.sdk.stream_events import Event
from budget_core.sdk.streams import StreamMeter
from budget_core.session.recording import mark_settled
from budget_core.session.session import BudgetSession

_COST: Final = "x-litellm-response-cost"
"""https://docs.litellm.ai/docs/proxy/response_headers, in dollars."""

current: ContextVar[Exchange | None] = ContextVar("budget_exchange", default=None)


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
        server: who serves it.

    Attributes:
        asked: what its caller wants on the wire.
        body: what goes on the wire.
        call: of the latest attempt.
        sent: that attempt may have left.
    """

    def __init__(self, claimed: Claim, endpoint: Endpoint, body: Body, server: Server) -> None:
        self.claim = claimed
        self.endpoint = endpoint
        self.server = server
        self.call: Call | None = None
        self.sent = False
        self.asked = self.body = body
        self._streaming = False
        self._next: Call | None = None
        self._before = handled()

    # -- before the request ------------------------------------------------------------------

    def open(self) -> None:
        """Hold the first attempt: by a call of its own, or by the framework's."""
        session, joining, call = self.claim.session, self.claim.joining, self.claim.pending
        if call is None:
            call = session.open_call(self._request(), joining=joining)
        else:
            call.reprice(self._request(again=True), _joining_new(joining, call))
        self._send(call)

    async def open_async(self) -> None:
        """Async version of `open`."""
        session, joining, call = self.claim.session, self.claim.joining, self.claim.pending
        if call is None:
            call = await session.open_call_async(self._request(), joining=joining)
        else:
            await call.reprice_async(self._request(again=True), _joining_new(joining, call))
        self._send(call)

    async def retry_async(self) -> None:
        """Hold the next attempt where the SDK can await, if the ledger blocks."""
        call = self.call
        if call is not None and call.ended and call.reservation.blocks:
            request = self._request(again=True)
            self._next = await self.claim.session.open_call_async(request, joining=call.sessions)

    def check(self, body: Body) -> Body:
        """Make sure, right before a body is built, that it is the one that is held.

        Args:
            body: what the SDK is about to send; where it moved the model into the URL
                (Bedrock, Vertex), it is without one.

        Returns:
            what to send instead.
        """
        call, same = self.call, body is self.asked or body == self.asked
        retry = call is None or call.ended  # the attempt before it has been settled or released
        if same and not retry:
            return self.body
        moved: Body = {key: self.asked[key] for key in ("model", "stream") if key in self.asked}
        added = moved.keys() - body.keys()
        self.asked = {**moved, **body}
        if call is None or retry:
            call = self._retried(same=same)
        else:
            call.reprice(self._request(again=True))
        self._send(call)
        return {key: value for key, value in self.body.items() if key not in added}

    # -- after the request -------------------------------------------------------------------

    def attempt_failed(self, response: Any, error: BaseException | None) -> None:
        """End an attempt that brought no answer: an error's status, or no response at all."""
        self.sent = False
        if self.call is None or self.call.ended:
            return
        if unbilled(error, response, before=self._before):
            self.call.release()
        elif response is None:
            self.call.leave_off(NO_RECEIPT)
        else:
            self.call.settle(None)

    def failed(self, error: BaseException) -> None:
        if self._next is not None:
            self._next.release()
        if not self.sent and self.call is not None:
            self.call.release()
            return
        self.attempt_failed(None, error)

    def __enter__(self) -> Self:
        """Let the hooks find it (`current`)."""
        self._token = current.set(self)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """End it in every case."""
        try:
            if error is not None:
                self.failed(error)
            elif self.call is not None and not self.call.ended:
                self.returned()
        finally:
            current.reset(self._token)

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
        if self.asked.get("background"):
            watched = background.Watched(self.call)
            return Metering(StreamMeter(watched, stream_format), watched.note)
        unwanted = (
            stream_format.only_usage if self.endpoint.silent(self.asked, self.server) else None
        )
        return Metering(StreamMeter(self.call, stream_format), unwanted)

    def settle(
        self, result: Any, body: Callable[[], Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """Charge a complete response, as the provider itself says; a stream is charged as it ends.

        Args:
            result: what the caller gets.
            body: reads the response as it came, for where `result` says nothing of its usage.
            headers: of the response: a LiteLLM proxy tells there what it came to.
        """
        if self.call is None:
            return
        if self.asked.get("background") and background.keep(self.call, read_body(body)):
            self._streaming = True  # somebody will ask how it ended
        if not self._streaming:
            receipt = read_receipt(result)
            if receipt.usage is None:
                receipt = read_receipt(read_body(body))
            if headers is not None and self.claim.session.estimator.told_costs:
                receipt = _with_cost(receipt, headers)
            self.claim.session.answered(self.call, lambda: read_body(body))
            self.call.settle(receipt, cut=lambda: met_cap(read_body(body)))
        mark_settled(result)

    # -- inside ------------------------------------------------------------------------------

    def _retried(self, *, same: bool) -> Call:
        """Return the call of a further attempt, whose hold may have been made already."""
        request, call = self._request(again=True), self._next
        if call is None:
            payers = self.call.sessions if self.call is not None else self.claim.joining
            return self.claim.session.open_call(request, joining=payers)
        self._next = None
        if not same:
            call.reprice(request)
        return call

    def _request(self, *, again: bool = False) -> CallRequest:
        request = self.endpoint.read(self.asked, self.server)
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

    def _send(self, call: Call) -> None:
        """Make a call the one of this attempt, and put what its hold pays for on the wire."""
        counted, self.call = self.call or self.claim.beside, call  # before anything can fail
        if counted is not None and counted.kind == "llm" and call.request.fingerprint is None:
            # not counted again, but in flight: a sample of the same prompt beside it is no loop
            fingerprint = counted.request.fingerprint
            call.request = call.request._replace(fingerprint=fingerprint)
        call.guarded = call is not self.claim.pending
        call.inside = self.claim.beside or self.claim.pending if call.guarded else None
        body, quote = self.asked, call.quote
        if quote is None:
            return
        if body.get("stream") and self.endpoint.silent(body, self.server):
            body = self.endpoint.with_usage(body)
        if call.output < quote.most or quote.capped:
            body = self.endpoint.capped(body, call.cap or 0, self.server)
            call.wired = self.endpoint.heeded is None or self.endpoint.binds(body, self.server)
            call.shortened = call.shortened or not call.wired
        else:
            call.wired = not quote.guessed
        self.body = body


def _joining_new(joining: tuple[BudgetSession, ...], call: Call) -> tuple[BudgetSession, ...]:
    return tuple(s for s in joining if s not in call.sessions)


def _with_cost(receipt: Receipt, headers: Mapping[str, str]) -> Receipt:
    """Return a receipt with the cost that a header tells; a proxy that knows none says 0."""
    cost = told_nanos(headers.get(_COST)) if receipt.cost is None else None
    return receipt._replace(cost=cost) if cost else receipt


def read_body(body: Callable[[], Any]) -> Any:
    """Return a response as it came; None if it is no JSON."""
    try:
        return body()
    except Exception as error:  # noqa: BLE001  not JSON, or not text: it then says nothing of its usage
        pass_on(error)
        return None
