"""The life of one request, from its arrival to its bill."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from budget_core.testing.answer import Answer, Usage
from budget_core.testing.gate import Gate
from budget_core.testing.prices import cost, search_fee
from budget_core.testing.wire import Frame, Json, Payload, Refusal, Wire, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Send

    from budget_core.testing.book import Entry
    from budget_core.testing.reply import Incoming, Reply
    from budget_core.testing.script import Script

EVENT_POLL = 0.002
EVENT_TIMEOUT = 10.0
ERROR_STATUS = 400
SECRET_PARAMETERS = frozenset({"key", "access_token"})
NO_TOKENS = Usage(0, 0, 0, 0, 0)


class Hangup:
    """Notices that the client went away, while something else is awaited."""

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.create_task(self._watch(receive))

    @property
    def gone(self) -> bool:
        return self._task.done()

    async def within(self, seconds: float) -> bool:
        """Wait so long, or until the client goes away; return whether it did."""
        await asyncio.wait({self._task}, timeout=seconds)
        return self.gone

    async def before(self, other: asyncio.Task[None]) -> bool:
        """Wait for another task, or until the client goes away; return whether it did."""
        await asyncio.wait({self._task, other}, return_when=asyncio.FIRST_COMPLETED)
        other.cancel()
        return self.gone

    def end(self) -> None:
        self._task.cancel()

    @staticmethod
    async def _watch(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


class Exchange:
    """One request: read, answered, billed."""

    def __init__(
        self, script: Script, wire: Wire, entry: Entry, receive: Receive, send: Send
    ) -> None:
        self._script = script
        self._wire = wire
        self._entry = entry
        self._receive = receive
        self._send = send
        self._hangup: Hangup | None = None
        self._answer: Answer | None = None
        self._listed = ""
        self._written = 0
        self._status = 0

    async def run(self, request: Request, raw: bytes) -> None:
        """Serve the request; raise Refusal if no model is asked."""
        body = self._wire.parse(raw, request.headers.get("content-type", ""))
        model = request.path_params.get("model")
        if model is not None:
            body["model"] = model
        self._entry.note(body=body)
        incoming = self._read(request, body)
        reply, answer = await self._ask(incoming)
        hangup = self._watch(incoming, reply)
        if hangup is not None and await _held_back(hangup, reply):
            return  # what is owed then is settled at the end
        if reply.status >= ERROR_STATUS:
            await self._fail(reply, answer)
        elif hangup is not None and incoming.stream:
            await self._stream(answer, hangup)
        else:
            await self._whole(answer)

    async def refuse(
        self,
        status: int,
        message: str,
        code: str | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send an error that retrying would not mend, unless the headers say otherwise."""
        more = {"x-should-retry": "false"} if headers is None else headers
        payload = Payload(encoded(self._wire.error(status, message, code)))
        await self._send_whole(status, payload, more)

    def end(self) -> None:
        """Settle what was left open because the client, or the server, went away."""
        if self._hangup is not None:
            self._hangup.end()
        if not self._entry.settled:
            self._abandon()
        self._entry.leave()

    def _abandon(self) -> None:
        answer = self._answer
        if answer is None or _is_free(answer.reply):
            self._entry.settle(status=self._status, aborted=True)
        else:  # what is not streamed is finished, and billed, without its reader
            shown = self._written if answer.incoming.stream else None
            self._bill(self._status, shown, aborted=True)

    def _read(self, request: Request, body: Json) -> Incoming:
        query = {k: v for k, v in request.query_params.items() if k not in SECRET_PARAMETERS}
        try:
            heeded = self._script.manners.heed(body)
            incoming = self._wire.read(self._entry.index, request.scope["path"], heeded)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise Refusal(400, f"malformed request: {error!r}") from error
        return self._script.continued(replace(incoming, query=query))

    async def _ask(self, incoming: Incoming) -> tuple[Reply, Answer]:
        catalogue = self._script.catalogue
        listed = catalogue.resolve(incoming.model, self._wire.fees)
        if listed is None:
            message = f"The model `{incoming.model}` does not exist or you do not have access to it"
            raise Refusal(404, message, "model_not_found")
        reply = await self._script.choose(incoming)
        asked = str(incoming.body.get("service_tier"))
        granted = asked if catalogue.has_tier(listed, asked) else "default"
        tier = reply.service_tier or granted
        answer = self._wire.compose(incoming, reply, tier)
        self._answer, self._listed = answer, listed
        cap, n, stream = incoming.output_cap, incoming.n, incoming.stream
        self._entry.note(
            model=incoming.model, streamed=stream, n=n, output_cap=cap, service_tier=tier
        )
        return reply, answer

    def _watch(self, incoming: Incoming, reply: Reply) -> Hangup | None:
        if incoming.stream or reply.gate is not None or reply.delay:
            self._hangup = Hangup(self._receive)
        return self._hangup

    async def _fail(self, reply: Reply, answer: Answer) -> None:
        if _is_free(reply):
            self._entry.settle(status=reply.status)
        else:
            self._bill(reply.status)
        after = reply.retry_after
        headers = {}
        if after is not None:
            headers["retry-after"] = str(math.ceil(after))
            headers["retry-after-ms"] = str(max(1, round(after * 1000)))
        message = reply.text or f"scripted error {reply.status}"
        await self.refuse(answer.reply.status, message, None, headers)

    async def _whole(self, answer: Answer) -> None:
        drops = answer.reply.drop_after is not None
        self._bill(answer.reply.status, dropped=drops)
        await self._send_whole(answer.reply.status, self._wire.payload(answer), {}, drops=drops)

    async def _stream(self, answer: Answer, hangup: Hangup) -> None:
        await self._start(answer.reply.status, {"content-type": self._wire.stream_type(answer)})
        reply, total = answer.reply, answer.written
        for frame, is_last in _marked(self._wire.frames(answer)):
            if self._drops(reply, total) and (frame.tokens or self._written or not total):
                self._bill(reply.status, self._written, dropped=True)
                return
            if self._written and frame.tokens and reply.chunk_delay:
                await hangup.within(reply.chunk_delay)
            if hangup.gone:
                self._entry.note(aborted=True)
                return
            self._written += frame.tokens
            if self._written == total and not self._entry.settled:
                self._bill(reply.status)
            if is_last:
                self._entry.leave()
            await self._send_body(frame.data, more=not is_last)
            await asyncio.sleep(0)  # even a full-speed stream must notice that its reader left

    def _drops(self, reply: Reply, total: int) -> bool:
        return reply.drop_after is not None and self._written >= min(reply.drop_after, total)

    def _bill(self, status: int, shown: int | None = None, **flags: bool) -> None:
        usage, nanos = self._owed(shown)
        self._entry.settle(
            status=status,
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            cache_write_tokens=usage.cache_write,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            nanos=nanos,
            searches=self._answer.reply.searches if self._answer is not None else 0,
            **flags,
        )

    def _owed(self, shown: int | None) -> tuple[Usage, int]:
        assert self._answer is not None  # noqa: S101 - only what was asked is billed
        fee = self._wire.fee(self._listed, self._answer.incoming)
        if fee is not None:
            return NO_TOKENS, fee
        usage = self._answer.usage(shown)
        catalogue = self._script.catalogue
        nanos = cost(
            catalogue.rates(self._listed, self._answer.tier, usage.input),
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            cache_write_tokens=usage.cache_write,
            output=usage.output,
        )
        return usage, nanos + search_fee(self._listed, self._answer.reply.searches)

    async def _send_whole(
        self, status: int, payload: Payload, headers: Mapping[str, str], *, drops: bool = False
    ) -> None:
        data, kind = payload
        length = {"content-type": kind, "content-length": str(len(data))}
        if not drops:
            self._entry.leave()
        await self._start(status, {**length, **headers})
        if not drops:
            await self._send_body(data, more=False)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        more = self._answer.reply.headers if self._answer is not None else {}
        named = {"x-request-id": f"req_{self._entry.index}", **headers, **more}
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _marked(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    current = next(frames)
    for following in frames:
        yield current, False
        current = following
    yield current, True


def _is_free(reply: Reply) -> bool:
    return reply.status >= ERROR_STATUS and not reply.billed


async def _held_back(hangup: Hangup, reply: Reply) -> bool:
    if reply.gate is not None:
        gate = asyncio.create_task(_passed(reply.gate))
        if await hangup.before(gate):
            return True
    return await hangup.within(reply.delay)


async def _passed(gate: Any) -> None:
    if isinstance(gate, Gate):
        await gate.passed()
        return
    try:
        async with asyncio.timeout(EVENT_TIMEOUT):
            while not gate.is_set():  # noqa: ASYNC110 - a thread's event, not the loop's
                await asyncio.sleep(EVENT_POLL)
    except TimeoutError:
        return
