"""One request to a watched API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from budget_core.calls.outcomes import unbilled
from budget_core.errors import QuotaExceeded
from budget_core.quota.record import ApiCall, endpoint_of, told
from budget_core.runtime.finalizers import collecting, later
from budget_core.sdk.streams import StreamMeter

if TYPE_CHECKING:
    from budget_core.money.usage import Receipt
    from budget_core.quota.limiter import Permit
    from budget_core.quota.watched import Watched
    from budget_core.runtime.waiting import Steps
    from budget_core.sdk.endpoints import Endpoint

_ERROR = 400
_TOO_MANY = 429
_REFUSALS = frozenset({403, _TOO_MANY, 503})
"""After which an API may name the time to wait: GitHub's secondary limits answer 403."""


class Outgoing(NamedTuple):
    """A request that is about to be sent: `body` is only looked at where tokens are limited."""

    method: str
    url: str
    parts: SplitResult
    body: Callable[[], Any]

    @classmethod
    def of(cls, method: str, url: str, body: Callable[[], Any]) -> Self:
        """Return a request; a URL that cannot be read is no API's, and its client says so."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        return cls(method, url, parts, body)


class WatchedRequest:
    """A request to a watched API, from before it is sent until it is settled."""

    def __init__(self, watched: Watched, outgoing: Outgoing) -> None:
        self._watched = watched
        self._outgoing = outgoing
        self._endpoint: Endpoint | None = None
        self._lock = Lock()
        self._permit: Permit | None = None
        self._given_up = False
        self._began = self._at = 0.0

    @property
    def blocks(self) -> bool:
        return self._watched.limiter.blocks

    def admission(self, wait: float) -> Steps[None]:
        """Get a permit, yielding where it has to wait.

        Raises:
            QuotaExceeded, LedgerUnavailable: there is none.
        """
        try:
            permit = yield from self._watched.limiter.steps(self._expected(), wait)
        except QuotaExceeded:
            self._watched.refused()
            raise
        with self._lock:
            self._permit, given_up = permit, self._given_up
        if given_up:  # its task was cancelled while a thread asked the ledger
            self.withdrawn()
            return
        self._watched.waited(permit.waited)
        self._began, self._at = monotonic(), time()

    def answered(self, status: int, headers: Iterable[tuple[str, str]]) -> StreamMeter | None:
        """Record an answer.

        Returns:
            what is to read the body, if its tokens count; else the request is settled.
        """
        limits = told(headers)
        self._watched.limiter.landed()
        self._watched.limiter.learn(limits, refused=status in _REFUSALS)
        self._record(status, limits)
        if self._endpoint is not None and status < _ERROR:
            return StreamMeter(self, self._endpoint.stream_format)
        self._end(0 if self._endpoint is not None else None)
        return None

    def failed(self, error: BaseException) -> None:
        """Record that there was no answer; the request counts unless it never left."""
        status = getattr(error, "status", None)
        if isinstance(status, int) and status >= _ERROR:  # an answer that aiohttp was told to raise
            self.answered(status, (getattr(error, "headers", None) or {}).items())
            return
        self._watched.limiter.landed()
        self._record(0, {})
        if unbilled(error) and self._permit is not None:
            self._watched.limiter.release(self._permit)
        else:
            self._end(None)

    def withdrawn(self) -> None:
        """Give everything back: it will not be sent, as another limiter or its caller wants it."""
        with self._lock:
            self._given_up, permit, self._permit = True, self._permit, None
        if permit is not None:
            self._watched.limiter.landed()
            self._watched.limiter.release(permit)

    # -- what `StreamMeter` asks of it -------------------------------------------------------

    limited = False
    wired = True

    def meter(self, _seen: int, /) -> None:
        """Do nothing: tokens are counted when the answer is whole."""

    def asks(self, _size: int, /) -> bool:
        """Return whether `meter` may ask the ledger: never."""
        return False

    def settle(self, outcome: Receipt | None, /) -> None:
        usage = None if outcome is None else outcome.usage
        tokens = None if usage is None else usage.total
        if collecting():
            later(lambda: self._end(tokens))
        else:
            self._end(tokens)

    def leave_off(
        self,
        receipt: Receipt,  # noqa: ARG002
        *,
        seen: int = 0,  # noqa: ARG002
        pace: float = 0.0,  # noqa: ARG002
        hidden: bool = True,  # noqa: ARG002
    ) -> None:
        """Count the request for what was held: nobody knows what it came to."""
        self.settle(None)

    # -- inside ------------------------------------------------------------------------------

    def _expected(self) -> int:
        if not self._watched.counts_tokens:
            return 0
        from budget_core.quota import tokens  # noqa: PLC0415  what a few need

        outgoing = self._outgoing
        self._endpoint = tokens.endpoint_at(outgoing.method, outgoing.url)
        if self._endpoint is None:
            return 0
        return tokens.expected(self._endpoint, outgoing.body())

    def _end(self, tokens: int | None) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._watched.limiter.settle(permit, tokens)

    def _record(self, status: int, limits: dict[str, str]) -> None:
        self._watched.record(
            ApiCall(
                api=self._watched.api.name,
                endpoint=endpoint_of(self._outgoing.parts.path),
                method=self._outgoing.method.upper(),
                status=status,
                latency_ms=(monotonic() - self._began) * 1000,
                at=self._at,
                environment=self._watched.environment,
                hit429=status == _TOO_MANY,
                rate_limit_headers=limits,
            )
        )
