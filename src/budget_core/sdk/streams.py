"""Metering a response's body as it is read, whoever reads it: stream helpers, raw, events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from budget_core.errors import BudgetExhausted
from budget_core.usage import Receipt, Usage, read_receipt

if TYPE_CHECKING:
    from budget_core.call import Call


class BodyMeter:
    """Stands between an httpx response and its readers.

    It counts the events of a stream, stops it when the hold is spent, keeps the usage that the
    provider tells, and settles the call when the body ends or is closed.
    """

    def __init__(self, call: Call, response: Any, *, swallow_usage: bool) -> None:
        self._call = call
        self._swallow = swallow_usage
        self._events = "text/event-stream" in response.headers.get("content-type", "")
        self._buffer = b""
        self._receipt = Receipt(None)
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
        try:
            self._pulling = True
            for chunk in chunks:
                self._pulling = False
                if passed := self._pass(chunk):
                    yield passed
                self._pulling = True
            if self._buffer:
                yield self._last()
        except BudgetExhausted:
            close()
            raise
        finally:
            self._end()

    async def _aread(
        self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[bytes]:
        try:
            self._pulling = True
            async for chunk in chunks:
                self._pulling = False
                if passed := self._pass(chunk):
                    yield passed
                self._pulling = True
            if self._buffer:
                yield self._last()
        except BudgetExhausted:
            await close()
            raise
        finally:
            self._end()

    def _pass(self, chunk: bytes) -> bytes:
        """Take note of what arrived; return the whole events in it, the rest is kept."""
        if not self._events:
            self._buffer += chunk
            return b""
        data = (self._buffer + chunk).replace(b"\r\n", b"\n")
        *events, self._buffer = data.split(b"\n\n")
        return b"".join(event + b"\n\n" for event in events if not self._seen(event))

    def _seen(self, event: bytes) -> bool:
        """Meter one event; True if the caller did not ask for it."""
        at = event.find(b"data:")
        payload = event[at + 5 :].strip() if at >= 0 else b""
        if not payload.startswith(b"{"):
            return False
        parsed = _parsed(payload)
        if parsed is None:
            return False
        self._note(read_receipt(parsed))
        self._call.meter(_pieces(parsed))
        return self._swallow and parsed.get("choices") == [] and bool(parsed.get("usage"))

    def _note(self, found: Receipt) -> None:
        known = self._receipt
        usage = found.usage
        if usage is not None and known.usage is not None:
            usage = Usage(*map(max, known.usage, usage))
        self._receipt = Receipt(
            usage or known.usage, found.model or known.model, found.tier or known.tier
        )

    def _last(self) -> bytes:
        """Return what no blank line ended: the rest of a stream, or a body that is no stream."""
        rest, self._buffer = self._buffer, b""
        if self._events:
            return b"" if self._seen(rest) else rest
        self._note(read_receipt(_parsed(rest)))
        return rest

    def _closed(self) -> None:
        # httpx closes a body that it has read whole before the last of it is handed over
        if not self._pulling:
            self._end()

    def _end(self) -> None:
        self._call.settle(self._receipt if self._receipt.usage is not None else None)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _pieces(event: dict[str, Any]) -> int:
    """Count the pieces of answer in an event, each a token at least."""
    choices = event.get("choices")
    if choices is None:
        return 1 if str(event.get("type", "")).endswith(".delta") and event.get("delta") else 0
    return sum(1 for choice in choices if _speaks(choice))


def _speaks(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if not delta:
        return bool(choice.get("text"))
    return any(value for key, value in delta.items() if key != "role")
