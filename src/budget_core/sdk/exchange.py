"""One SDK call under guard: its attempts, each with a hold of its own, and its response."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from budget_core import scope
from budget_core.call import Call, CallRequest
from budget_core.finalizers import later
from budget_core.maximums import known_max_output
from budget_core.sdk.requests import Body, Endpoint
from budget_core.sdk.streams import BodyMeter
from budget_core.session import BudgetSession
from budget_core.usage import read_receipt
from budget_core.wrapping import mark_settled

current: ContextVar[Exchange | None] = ContextVar("budget_exchange", default=None)

_NEVER_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"}
)
_MAYBE_BILLED: Final = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting for an answer that may have been made."""


class Claim(NamedTuple):
    """Who pays for a request made here: a call that a framework opened, or a session."""

    session: BudgetSession
    joining: tuple[BudgetSession, ...] = ()
    pending: Call | None = None
    beside: Call | None = None


def claim() -> Claim | None:
    """Return who pays for a request made in this context; None if nobody watches it."""
    guarded = scope.guarded()
    if enclosing := scope.enclosing_calls():
        for call in enclosing:
            if call.claim():
                return Claim(call.session, guarded, pending=call)
        return _claim_beside(enclosing[-1], guarded)
    if calls := scope.open_calls():
        return _claim_beside(calls[-1], guarded)
    if guarded:
        return Claim(guarded[-1], guarded[:-1])
    return None


def _claim_beside(call: Call, guarded: tuple[BudgetSession, ...]) -> Claim:
    """Let everybody who holds `call` pay for a further request inside it, too."""
    return Claim(call.session, (*call.sessions, *guarded), beside=call)


class Exchange:
    """The guard's side of one call of the SDK, retries included."""

    def __init__(
        self, claimed: Claim, endpoint: Endpoint, options: Any, provider: str | None
    ) -> None:
        self.claim = claimed
        self.endpoint = endpoint
        self.provider = provider
        self.call: Call | None = None
        self.sent = False
        self._options = options
        self._original = options.json_data, options.extra_json
        self._asked = merged_body(options)
        self._body: Body = self._asked

    # -- before the request ------------------------------------------------------------------

    def open(self) -> None:
        """Hold the first attempt, waiting in this thread."""
        if not self._take_over():
            self.call = self._session.open_call(self._request(), joining=self.claim.joining)
        self._seal(self._options)

    async def open_async(self) -> None:
        """Do what `open` does, awaiting."""
        if not self._take_over():
            self.call = await self._session.open_call_async(
                self._request(), joining=self.claim.joining
            )
        self._seal(self._options)

    def close(self) -> None:
        """Give the caller's options back as they were."""
        self._options.json_data, self._options.extra_json = self._original

    def check(self, options: Any) -> None:
        """Make sure, right before a body is built, that it is the one that is held."""
        if self.call is None or self.call.ended:
            # a retry: the attempt before it has been settled or released
            payers = self.call.sessions if self.call is not None else self.claim.joining
            self.call = self._session.open_call(self._request(again=True), joining=payers)
            self._seal(options)
        elif options.json_data is not self._body or options.extra_json is not None:
            self._asked = merged_body(options)
            self.call.reprice(self._request(again=True))
            self._seal(options)

    # -- after the request -------------------------------------------------------------------

    def attempt_failed(self, response: Any, error: BaseException | None) -> None:
        """End an attempt that brought no answer: an error's status, or no response at all."""
        self.sent = False
        if self.call is None or self.call.ended:
            return
        if self._unbilled(response, error):
            self.call.release()
        else:
            self.call.settle(None)

    def failed(self, error: BaseException) -> None:
        """End the call after the error that the caller gets to see."""
        if not self.sent and self.call is not None:
            self.call.release()
            return
        cause = error.__cause__ or error
        self.attempt_failed(getattr(error, "response", None), cause)

    def responded(self, response: Any) -> BodyMeter | None:
        """Meter a response whose body is still to come; None if it is here already."""
        if self.call is None or response.is_stream_consumed or response.is_closed:
            return None
        silent = self.endpoint.silent(self._asked)
        meter = BodyMeter(self.call, response, swallow_usage=silent)
        weakref.finalize(response, later, self.call.settle).atexit = False
        return meter

    def settle(self, response: Any, result: Any) -> None:
        """Charge a complete response, as the provider itself says."""
        if self.call is None:
            return
        receipt = read_receipt(result)
        if receipt.usage is None:
            receipt = read_receipt(_json(response))
        self.call.settle(receipt)
        mark_settled(result)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _session(self) -> BudgetSession:
        return self.claim.session

    def _take_over(self) -> bool:
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
        if beside is not None:
            request = request._replace(agent=beside.request.agent, mixin=beside.request.mixin)
        if again or (beside is not None and beside.kind == "llm"):
            request = request._replace(fingerprint=None)  # the framework's call was counted
        return request

    def _seal(self, options: Any) -> None:
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
        self._body = options.json_data = body
        options.extra_json = None

    def _unbilled(self, response: Any, error: BaseException | None) -> bool:
        if response is not None:
            return response.status_code not in _MAYBE_BILLED
        return type(error).__name__ in _NEVER_SENT


def merged_body(options: Any) -> Body:
    """Return the body that the SDK will build of its options."""
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    extra = options.extra_json
    return {**body, **extra} if isinstance(extra, Mapping) else dict(body)


def _json(response: Any) -> Any:
    try:
        return response.json()
    except Exception:  # noqa: BLE001  not JSON, or not text: it then says nothing of its usage
        return None
