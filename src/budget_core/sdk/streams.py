"""Metering a response's body as it is read, by any reader: stream helpers, raw, events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from budget_core.calls.responses import met_cap, read_on
from budget_core.errors import BudgetExhausted
from budget_core.money.usage import Receipt
from budget_core.runtime.background import asked
from budget_core.runtime.finalizers import Ender
from budget_core.sdk.stream_events import LETTERS

if TYPE_CHECKING:
    from budget_core.sdk.stream_events import Event, StreamFormat


class Metered(Protocol):
    """What is held for an answer: a `Call`, or a request against an API's quota."""

    @property
    def limited(self) -> bool:
        """Whether it matters if a cap on its length ends the answer."""

    @property
    def wired(self) -> bool:
        """Whether the provider itself ends it at a cap: then no piece counts for more than one."""

    def meter(self, seen: int, /) -> None:
        """Count deltas of the answer; raise if they outgrow what is held."""

    def asks(self, size: int, /) -> bool:
        """Return whether `meter` may ask a ledger that blocks, for `size` more bytes."""

    def settle(self, outcome: Receipt | None, /) -> None:
        """End it, as unknown if `outcome` is None."""


class StreamMeter:
    """Counts the events of one answer, keeps the usage that they tell, and settles its call."""

    def __init__(self, call: Metered, stream_format: StreamFormat) -> None:
        self._call = call
        self._format = stream_format
        self._receipt = Receipt(None)
        self._whole = False
        self._limited = call.limited
        self._wired = call.wired
        self._cut: bool | None = None

    def note(self, event: Event) -> None:
        """Record an event.

        Raises:
            BudgetExhausted: the hold is spent. Close the stream, then `end`.
        """
        self._receipt = read_on(self._receipt, event)
        self._whole = self._whole or self._format.last(event)
        if self._limited and (cut := met_cap(event)) is not None:
            self._cut = self._cut or cut
        pieces = self._format.deltas(event)
        if not self._wired and pieces:
            pieces = max(pieces, self._format.size(event) // LETTERS)
        self._call.meter(pieces)

    def asks(self, size: int) -> bool:
        """Return whether `note` may ask a ledger that blocks, for events of `size` bytes."""
        return self._call.asks(size)

    def answer(self, body: Any) -> None:
        """Record an answer that is no stream."""
        self._receipt = read_on(self._receipt, body)
        self._whole = True
        if self._limited:
            self._cut = met_cap(body)

    def end(self) -> None:
        """Settle the call; as unknown if the answer was broken off before it told its usage."""
        known = self._whole and self._receipt.usage is not None
        receipt = self._receipt if known else None
        if self._cut is not None:
            receipt = (receipt or Receipt(None))._replace(cut=self._cut)
        self._call.settle(receipt)


class BodyMeter:
    """Stands between an httpx response and its readers.

    It hands on whole events, stops the stream when the hold is spent, and settles the call when
    the body ends or is closed.

    Args:
        meter: counts the events.
        response: of httpx or httpx2; its own methods are covered, on this instance.
        unwanted: tells which events the caller did not ask for.
    """

    def __init__(
        self, meter: StreamMeter, response: Any, unwanted: Callable[[Event], bool] | None
    ) -> None:
        self._meter = meter
        self._unwanted = unwanted
        self._events = "text/event-stream" in response.headers.get("content-type", "")
        self._buffer = b""
        self._pulling = False
        self._attach(response)

    def _attach(self, response: Any) -> None:
        iter_bytes, aiter_bytes = response.iter_bytes, response.aiter_bytes
        close, aclose = response.close, response.aclose

        def end_and_close() -> None:
            self._closed()
            close()

        async def end_and_aclose() -> None:
            self._closed()
            await aclose()

        response.iter_bytes = lambda size=None: self._read(iter_bytes(size), end_and_close)
        response.aiter_bytes = lambda size=None: self._aread(aiter_bytes(size), end_and_aclose)
        response.close, response.aclose = end_and_close, end_and_aclose

    def _read(self, chunks: Iterator[bytes], close: Callable[[], None]) -> Iterator[bytes]:
        _ender = Ender(self._meter.end)
        try:
            self._pulling = True
            for chunk in chunks:
                self._pulling = False
                if passed := self._pass(chunk):
                    yield passed
                self._pulling = True
            if self._buffer and (last := self._last()):
                yield last
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, BudgetExhausted):
                close()
            self._meter.end()
            raise
        self._meter.end()

    async def _aread(
        self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[bytes]:
        try:
            self._pulling = True
            async for chunk in chunks:
                self._pulling = False
                blocks = self._meter.asks(len(self._buffer) + len(chunk))
                if passed := await asked(partial(self._pass, chunk), blocks=blocks):
                    yield passed
                self._pulling = True
            blocks = self._meter.asks(len(self._buffer))
            if self._buffer and (last := await asked(self._last, blocks=blocks)):
                yield last
        except BudgetExhausted:
            await close()
            raise
        finally:
            self._meter.end()

    def _pass(self, chunk: bytes) -> bytes:
        """Record what arrived; return it, of a stream the whole events in it."""
        if not self._events:
            self._buffer += chunk
            return chunk
        data = (self._buffer + chunk).replace(b"\r\n", b"\n")
        *events, self._buffer = data.split(b"\n\n")
        passed = b""
        for event in events:
            if not self._seen(event):
                passed += event + b"\n\n"
        return passed

    def _seen(self, event: bytes) -> bool:
        """Meter one event; True if the caller did not ask for it."""
        at = event.find(b"data:")
        payload = event[at + 5 :].strip() if at >= 0 else b""
        if not payload.startswith(b"{"):
            return False
        parsed = parsed_json(payload)
        if parsed is None:
            return False
        self._meter.note(parsed)
        return self._unwanted is not None and self._unwanted(parsed)

    def _last(self) -> bytes:
        """Record a body that is no stream; return of a stream what no blank line ended."""
        rest, self._buffer = self._buffer, b""
        if self._events:
            return b"" if self._seen(rest) else rest
        self._meter.answer(parsed_json(rest))
        return b""

    def _closed(self) -> None:
        # httpx closes a body that it has read whole before the last of it is handed over
        if not self._pulling:
            self._meter.end()


def parsed_json(body: Any) -> Any:
    """Return what JSON says, None for what is none; what is parsed already as it is."""
    if not isinstance(body, str | bytes | bytearray):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return None
