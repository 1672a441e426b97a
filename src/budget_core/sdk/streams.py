"""Metering a response's body as it is read, by any reader: stream helpers, raw, events."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from budget_core.calls.partial import pace_of
from budget_core.calls.responses import met_cap, read_on
from budget_core.errors import BudgetExhausted
from budget_core.money.usage import Receipt
from budget_core.runtime.background import asked
from budget_core.runtime.finalizers import Ender, collecting
from budget_core.runtime.signals import pass_on
from budget_core.sdk.stream_events import LETTERS

if TYPE_CHECKING:
    from budget_core.sdk.stream_events import Event, StreamFormat

PATIENCE: Final = 1.0
"""Seconds to wait for the usage of an answer that has ended, where its reader has left."""


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

    def leave_off(self, receipt: Receipt, *, seen: int, pace: float, hidden: bool) -> None:
        """End it before its answer is whole (see `Call.leave_off`)."""


class StreamMeter:
    """Counts the events of one answer, keeps the usage that they tell, and settles its call.

    Attributes:
        finished: the answer has ended, and its usage may still come.
        read_on: somebody reads it to its end, and ends this.
    """

    def __init__(self, call: Metered, stream_format: StreamFormat) -> None:
        self._call = call
        self._format = stream_format
        self._receipt = Receipt(None)
        self._whole = self._ended = False
        self._thought = False
        self._bytes = self._pieces = 0
        self._first: float | None = None
        self.finished = self.read_on = False
        self._limited = call.limited
        self._wired = call.wired
        self._cut: bool | None = None

    def note(self, event: Event) -> None:
        """Record an event.

        Raises:
            BudgetExhausted: the hold is spent. Close the stream, then `end`.
        """
        told = self._receipt.usage
        self._receipt = read_on(self._receipt, event)
        self.finished = self.finished or self._format.ends(event)
        final = self.finished and self._receipt.usage is not told
        self._whole = self._whole or final or self._format.last(event)
        self._thought = self._thought or self._format.thinks(event)
        if self._limited and (cut := met_cap(event)) is not None:
            self._cut = self._cut or cut
        pieces = self._format.deltas(event)
        if pieces:
            self._count(pieces, event)
            if not self._wired:
                pieces = max(pieces, self._format.size(event) // LETTERS)
        self._call.meter(pieces)

    def _count(self, pieces: int, event: Event) -> None:
        if self._first is None:
            self._first = monotonic()
        self._pieces += pieces
        self._bytes += max(pieces, self._format.bytes_in(event))

    def asks(self, size: int) -> bool:
        """Return whether `note` may ask a ledger that blocks, for events of `size` bytes."""
        return self._call.asks(size)

    def answer(self, body: Any) -> None:
        """Record an answer that is no stream."""
        self._receipt = read_on(self._receipt, body)
        self._whole = True
        if self._limited:
            self._cut = met_cap(body)

    @property
    def whole(self) -> bool:
        """The usage of the whole answer is known."""
        final = self._whole or (self._ended and self._format.adds_up)
        return final and self._receipt.usage is not None

    @property
    def waits(self) -> bool:
        """The answer has ended, and its usage has not come yet."""
        return self.finished and not (self._whole or self._ended)

    def done(self) -> None:
        """Record that the stream has ended as it should."""
        self._ended = True

    def dropped(self) -> None:
        """End it, as nobody has it any more who could; nor has anybody closed it."""
        if not self.read_on:
            self._settle()

    def end(self) -> None:
        """Settle the call: by its usage, or, if it was left before, by what can be written."""
        if self._whole or self._ended:
            self._settle()
            return
        came = 0.0 if self._first is None else monotonic() - self._first
        pace = pace_of(self._pieces, came)
        receipt = self._told
        self._call.leave_off(receipt, seen=self._bytes, pace=pace, hidden=self._thought)

    @property
    def _told(self) -> Receipt:
        return self._receipt if self._cut is None else self._receipt._replace(cut=self._cut)

    def _settle(self) -> None:
        told = self._told if self.whole else self._told._replace(usage=None)
        self._call.settle(None if told.usage is None and self._cut is None else told)


class BodyMeter:
    """Stands between an httpx response and its readers.

    It hands on whole events, stops the stream when the hold is spent, and settles the call when
    the body ends or is closed. One that is left after the answer's end, as many programs do, is
    read on for a moment: its usage comes next.

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
        self._unread: Callable[[], Any] = lambda: None
        if response.is_stream_consumed:
            self._replay(response)
        else:
            self._attach(response)

    def _attach(self, response: Any) -> None:
        kind, unread = type(response), weakref.ref(response)  # no cycle: it may go at any time

        def end_and_close() -> None:
            # httpx closes a body that it has read whole before the last of it is handed over
            if not self._pulling:
                if self._read_on(unread()):
                    return
                self._meter.end()
            if (response := unread()) is not None:
                kind.close(response)

        async def end_and_aclose() -> None:
            try:
                if not self._pulling:
                    await self._aread_on()
            finally:
                if (response := unread()) is not None:
                    await kind.aclose(response)

        response.iter_bytes = lambda size=None: self._read(kind.iter_bytes(unread(), size), unread)
        response.aiter_bytes = lambda size=None: self._aread(
            kind.aiter_bytes(unread(), size), end_and_aclose
        )
        response.close, response.aclose = end_and_close, end_and_aclose

    def _replay(self, response: Any) -> None:
        """Meter a body that somebody has read before, a hook or a recorder, and hand it on."""
        passed = b""
        try:
            passed = self._pass(response.content)
            if self._buffer:
                passed += self._last()
            self._ended()
        except BudgetExhausted:  # too late: it was billed
            passed = response.content
        self._meter.end()

        async def replayed(_size: int | None = None) -> AsyncIterator[bytes]:
            yield passed

        response.iter_bytes = lambda _size=None: iter((passed,))
        response.aiter_bytes = replayed

    def _read_on(self, response: Any) -> bool:
        """Read the usage of an answer that has ended, and close then; False if it is known.

        A thread does it, which this one waits for a moment: a provider may not answer.
        """
        chunks = self._unread()
        if chunks is None or not self._meter.waits or self._meter.read_on or collecting():
            return self._meter.read_on
        ended = threading.Event()
        self._meter.read_on = True

        def read() -> None:
            self._pulling = True
            try:
                for chunk in chunks:
                    self._pass(chunk)
                    if not self._meter.waits:
                        break
                else:
                    self._ended()
            except Exception as error:  # noqa: BLE001  whatever the connection ended with
                pass_on(error)
            finally:
                self._meter.end()
                ended.set()
                response.close()

        threading.Thread(target=read, name="budget-usage", daemon=True).start()
        if not ended.wait(PATIENCE):
            self._meter.end()
        return True

    async def _aread_on(self) -> None:
        """Async version of `_read_on`, in this task."""
        try:
            chunks = self._unread()
            if chunks is not None and self._meter.waits:
                import anyio  # noqa: PLC0415  httpx has it

                self._pulling = True
                with anyio.move_on_after(PATIENCE):
                    async for chunk in chunks:
                        blocks = self._meter.asks(len(self._buffer) + len(chunk))
                        await asked(partial(self._pass, chunk), blocks=blocks)
                        if not self._meter.waits:
                            break
                    else:
                        self._ended()
        except Exception as error:  # noqa: BLE001  whatever the connection ended with
            pass_on(error)
        finally:
            self._pulling = False
            self._meter.end()

    def _read(self, chunks: Iterator[bytes], response: Callable[[], Any]) -> Iterator[bytes]:
        _ender = Ender(self._meter.dropped)
        self._unread = weakref.ref(chunks)
        try:
            self._pulling = True
            for chunk in chunks:
                self._pulling = False
                if passed := self._pass(chunk):
                    yield passed
                self._pulling = True
            if self._buffer and (last := self._last()):
                yield last
            self._ended()
        except GeneratorExit:
            self._read_on(response())
            raise
        except BaseException as error:
            if isinstance(error, BudgetExhausted):
                response().close()
            self._meter.end()
            raise
        self._meter.end()

    async def _aread(
        self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[bytes]:
        self._unread = weakref.ref(chunks)
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
            self._ended()
        except BudgetExhausted:
            await close()
            raise
        except GeneratorExit:
            await self._aread_on()
            raise
        finally:
            self._meter.end()

    def _pass(self, chunk: bytes) -> bytes:
        """Record what arrived; return it, of a stream the whole events in it."""
        if not self._events:
            self._buffer += chunk
            return chunk
        data, pending = self._buffer + chunk, b""
        if b"\r" in data:
            if data.endswith(b"\r") and not data.endswith(b"\r\r"):
                data, pending = data[:-1], b"\r"  # of which the rest, a line feed, may come
            data = _with_line_feeds(data)
        *events, self._buffer = data.split(b"\n\n")
        self._buffer += pending
        passed = b""
        for event in events:
            if not self._seen(event):
                passed += event + b"\n\n"
        return passed

    def _seen(self, event: bytes) -> bool:
        """Meter one event; True if the caller did not ask for it."""
        payload = _data_of(event)
        if not payload.startswith(b"{"):
            if payload == b"[DONE]":
                self._meter.done()
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
            return b"" if self._seen(_with_line_feeds(rest)) else rest
        self._meter.answer(parsed_json(rest))
        return b""

    def _ended(self) -> None:
        """Record that the body ended as it should."""
        if self._meter.finished:
            self._meter.done()


def _with_line_feeds(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(event: bytes) -> bytes:
    """Return an event's data: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    return b"\n".join([line[5:] for line in event.split(b"\n") if line[:5] == b"data:"]).strip()


def parsed_json(body: Any) -> Any:
    """Return what JSON says, None for what is none; what is parsed already as it is."""
    if not isinstance(body, str | bytes | bytearray):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return None
