"""One attempt at a request of google-genai: its hold, its response, and the stream that it may be.

A retry of the SDK is an attempt with a hold of its own. Where the SDK itself sends an attempt
again, after a connection of aiohttp's broke, both share one hold.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from budget_core.calls.request import CallRequest
from budget_core.runtime.background import asked
from budget_core.runtime.finalizers import when_dropped
from budget_core.sdk.claims import claim
from budget_core.sdk.exchange import Exchange
from budget_core.sdk.google.api import API, model_in, read_body
from budget_core.sdk.google.methods import answering
from budget_core.sdk.hosts import server_at
from budget_core.sdk.streams import StreamMeter

_RETRIED: Final = "_budget_attempted"


class _Retry(Exchange):
    """A further attempt at the same request: no call of its own to the detection of loops."""

    def _request(self, *, again: bool = False) -> CallRequest:  # noqa: ARG002  it always is
        return super()._request(again=True)


def request_once(original: Any, client: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
    """Make one attempt: held before it is sent, and settled, or metered, by its response."""
    exchange = _exchange(client, http_request)
    if exchange is None:
        return original(client, http_request, *args, **kwargs)
    with _conducted(exchange, http_request):
        exchange.open()
        _apply_body(http_request, exchange)
        response = original(client, http_request, *args, **kwargs)
        _conclude(exchange, response)
        return response


async def async_request_once(
    original: Any, client: Any, http_request: Any, *args: Any, **kwargs: Any
) -> Any:
    """Async version of `request_once`."""
    exchange = _exchange(client, http_request)
    if exchange is None:
        return await original(client, http_request, *args, **kwargs)
    with _conducted(exchange, http_request):
        await exchange.open_async()
        _apply_body(http_request, exchange)
        response = await original(client, http_request, *args, **kwargs)
        _conclude(exchange, response)
        return response


def _exchange(client: Any, http_request: Any) -> Exchange | None:
    if not isinstance(data := http_request.data, Mapping):  # bytes of an upload, which is free
        return None
    url = urlsplit(http_request.url)
    endpoint = API.endpoint(http_request.method, url.path)
    if endpoint is None or (claimed := claim(client)) is None:
        return None
    model = model_in(url.path)
    named = {} if model is None else {"model": model}
    kind = _Retry if hasattr(http_request, _RETRIED) else Exchange
    setattr(http_request, _RETRIED, True)
    return kind(claimed, endpoint, {**read_body(data), **named}, server_at(url.hostname or ""))


@contextmanager
def _conducted(exchange: Exchange, http_request: Any) -> Iterator[None]:
    """End an attempt in every case, and give the request back as it was."""
    before = http_request.data
    try:
        yield
        exchange.returned()
    except BaseException as error:
        exchange.sent = exchange.sent and not _kept_back(error, http_request.data)
        exchange.failed(error)
        raise
    finally:
        http_request.data = before


def _apply_body(http_request: Any, exchange: Exchange) -> None:
    """Put on the request what is held; its model stands in the URL."""
    given = {"model": http_request.data["model"]} if "model" in http_request.data else {}
    body = {key: value for key, value in exchange.body.items() if key != "model"}
    http_request.data = {**body, **given}
    exchange.sent = True


def _kept_back(error: BaseException, data: Any) -> bool:
    """Return whether a request failed before it was sent: without credentials, or a body."""
    if type(error).__module__.startswith("google.auth"):
        return type(error).__name__ in ("RefreshError", "DefaultCredentialsError")
    if not isinstance(error, TypeError | ValueError):
        return False
    try:
        json.dumps(data)
    except (TypeError, ValueError):
        return True
    return False


def _conclude(exchange: Exchange, response: Any) -> None:
    if isinstance(response.response_stream, list):
        exchange.settle(response, lambda: response.json)
    elif (metering := exchange.streams()) is not None:
        segments = _Segments(metering.meter, response)
        if (caller := answering.get()) is not None:
            caller.opened.append(segments)
        # it may never be read: then what it may have cost is charged when it is collected
        when_dropped(response, metering.meter.end)


class _Segments:
    """Stands between a streamed response and its readers.

    It stops the stream when the hold is spent, settles the call when it is read or given up, and
    closes the connection then: what is not read need not be written.

    Args:
        meter: counts the events.
        response: of the SDK; its own methods are covered, on this instance.
    """

    def __init__(self, meter: StreamMeter, response: Any) -> None:
        self._meter = meter
        self._stream = response.response_stream
        kind, unread = type(response), weakref.ref(response)  # no cycle: it may go at any time
        response.segments = lambda: self._read(kind.segments(unread()))
        response.async_segments = lambda: self._aread(kind.async_segments(unread()))

    def close(self) -> None:
        self._meter.end()
        self._stream.close()

    async def aclose(self) -> None:
        self._meter.end()
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()
        else:
            self._stream.close()  # aiohttp's

    def _read(self, segments: Iterator[Any]) -> Iterator[Any]:
        try:
            for segment in segments:
                self._note(segment)
                yield segment
        finally:
            self.close()

    async def _aread(self, segments: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for segment in segments:
                blocks = self._meter.asks(len(str(segment)))
                await asked(partial(self._note, segment), blocks=blocks)
                yield segment
        finally:
            await self.aclose()

    def _note(self, segment: Any) -> None:
        if isinstance(segment, Mapping):
            self._meter.note(segment)
