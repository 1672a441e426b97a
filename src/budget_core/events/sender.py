"""Posting events as JSON from the background, again and again if it must be."""

from __future__ import annotations

import encodings.idna  # noqa: F401  the first request would import it, in a call's time
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

from budget_core.errors import InvalidBudget
from budget_core.events.http import opener
from budget_core.events.outbox import Outbox

try:
    from tenacity import RetryCallState, Retrying, retry_if_exception
    from tenacity.nap import sleep_using_event
    from tenacity.stop import stop_after_attempt, stop_when_event_set
    from tenacity.wait import wait_exponential_jitter
except ModuleNotFoundError as _error:
    raise ImportError(
        "Sending events needs tenacity: pip install 'budget-suite[events]'"
    ) from _error

_TRY_AGAIN: Final = frozenset({408, 425, 429})
_LONGEST_WAIT: Final = 30.0
_LONGEST_ASKED: Final = 60.0
"""Seconds that a receiver may ask for by ``Retry-After``."""


def listed(events: Sequence[str], **beside: str) -> str:
    """Return the JSON document of a batch: its events, and what stands beside them."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in beside.items()]
    members.append(f'"events": [{", ".join(events)}]')
    return f"{{{', '.join(members)}}}"


class Sender(Outbox):
    """Posts events as JSON to a URL. It never blocks or raises, and tells no secret of the URL.

    >>> sender = Sender("https://example.com/ingest", headers={"Authorization": "Bearer …"})
    >>> sender
    <Sender https://example.com Counts(sent=0, dropped=0, waiting=0, retried=0)>

    An answer of 408, 425, 429 or 5xx, or none at all, is tried again, not before the time that it
    names in ``Retry-After``, up to a minute. Any other that is not 2xx, a redirection too, drops
    the batch; so does a certificate that is not trusted.

    Args:
        url: "https://…"; credentials belong into `headers`.
        headers: sent with each request, or what returns them for a body.
        batch: how many events at most go into one request.
        interval: seconds to wait for a batch to fill; 0 sends at once.
        buffer: how many events may wait; a newer one takes the place of the oldest.
        attempts: how often a request is tried in all.
        pause: seconds before the second attempt; each later pause is twice as long, with jitter.
        timeout: seconds that a request may take, however slowly its answer arrives.
        shape: makes one JSON document of those of a batch's events; by default
            ``{"events": [...]}``.

    Raises:
        InvalidBudget: the URL is none that can be posted to.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | Callable[[bytes], Mapping[str, str]] | None = None,
        batch: int = 100,
        interval: float = 5.0,
        buffer: int = 500,
        attempts: int = 5,
        pause: float = 1.0,
        timeout: float = 5.0,
        shape: Callable[[Sequence[str]], str] = listed,
    ) -> None:
        super().__init__(_origin(url), batch=batch, interval=interval, buffer=buffer)
        self._url, self._shape = url, shape
        self._attempts, self._timeout = attempts, timeout
        self._headers = headers if callable(headers) else lambda _body: headers or {}
        self._opener = opener()
        self._backoff = wait_exponential_jitter(pause, _LONGEST_WAIT, jitter=pause)

    def deliver(self, events: Sequence[str]) -> None:
        body = self._shape(events).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "budget-suite"}
        request = Request(self._url, body, {**headers, **self._headers(body)})  # noqa: S310  http(s)
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts) | stop_when_event_set(self._stop),
            wait=lambda state: max(self._backoff(state), _asked_wait(state)),
            retry=retry_if_exception(_may_pass),
            before_sleep=self._count_retry,
            sleep=sleep_using_event(self._stop),
            reraise=True,
        )
        retrying(partial(self._post, request))

    def describe(self, error: BaseException) -> str:
        if isinstance(error, HTTPError):
            return f"it answered {error.code}"
        reason = getattr(error, "reason", error)  # urllib wraps what the system raised
        reason = reason if isinstance(reason, BaseException) else error  # or a text
        return f"{type(reason).__name__} {getattr(reason, 'strerror', None) or ''}".strip()

    def _post(self, request: Request) -> None:
        try:
            self._opener.open(request, timeout=self._timeout).close()
        except HTTPError as error:
            error.close()
            raise

    def _count_retry(self, _state: RetryCallState) -> None:
        with self._changed:
            self._retried += 1


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, HTTPError):
        return error.code in _TRY_AGAIN or error.code >= 500  # noqa: PLR2004
    untrusted = isinstance(getattr(error, "reason", None), SSLCertVerificationError)
    return isinstance(error, OSError | HTTPException) and not untrusted


def _asked_wait(state: RetryCallState) -> float:
    """Return how many seconds the receiver asked to be left alone, within reason."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
    seconds = 0.0
    with suppress(ValueError, TypeError, OverflowError):
        if asked.isdecimal():
            seconds = float(asked)
        elif asked:
            seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), _LONGEST_ASKED)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        origin, port = f"{parts.scheme}://{parts.hostname}", parts.port
    except ValueError:
        raise InvalidBudget("The URL to send events to cannot be read.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
        raise InvalidBudget("The URL to send events to is to be 'https://host/…' or 'http://…'.")
    if " " in url or not f"{parts.path}{parts.query}".isascii():
        raise InvalidBudget(f"Quote what the URL of {origin} says: %20 for a space, and so on.")
    if parts.username is not None:
        raise InvalidBudget(f"Send credentials to {origin} in headers=, not in its URL.")
    return origin if port is None else f"{origin}:{port}"
