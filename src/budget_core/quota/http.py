"""The hooks on HTTP clients: requests, httpx, httpx2 and aiohttp.

=========  ===================================  ================================================
requests   ``HTTPAdapter.send``                 each request, those of a redirect too
httpx(2)   ``Client._send_single_request``      likewise; whatever its transport
aiohttp    ``ClientSession._request``           each call, its redirects included
=========  ===================================  ================================================

Two of them are private: `Patches` checks that they are what is known here.
"""

from __future__ import annotations

import json
import math
import sys
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from budget_core.errors import AgentBudgetError, QuotaExceeded
from budget_core.quota.passage import Outgoing, Passage
from budget_core.runtime.finalizers import later, reap
from budget_core.runtime.imports import when_imported
from budget_core.runtime.waiting import run, run_async
from budget_core.sdk.patches import Patches
from budget_core.sdk.streams import BodyMeter, StreamMeter

if TYPE_CHECKING:
    from budget_core.quota.watch import Watch

Metering: TypeAlias = Callable[[StreamMeter, Any], None]

_STAINLESS: Final = "x-stainless-lang"
"""The header by which SDKs make themselves known that retry whatever is raised here."""

_lock = RLock()  # reentrant: an import may run in here
_watches: tuple[Watch, ...] = ()
_patched: dict[str, Patches] = {}
_awaited: set[str] = set()

_inside: ContextVar[bool] = ContextVar("budget_quota_inside", default=False)
"""Set while a request is sent: a client that sends by means of another one is seen once."""


def begin(watch: Watch) -> None:
    """Let a watch see what is sent from here on.

    Raises:
        GuardError: a client's insides are not what is known here.
    """
    global _watches  # noqa: PLW0603  replaced whole, under the lock
    with _lock:
        _watches = tuple(dict.fromkeys((*_watches, watch)))
    try:
        for module in _HOOKS:
            if module in sys.modules:
                _patch(module, import_module(module))  # waits for an import that is under way
            elif module not in _awaited:
                _awaited.add(module)
                when_imported(module, partial(_patch, module))
    except BaseException:
        end(watch)
        raise


def end(watch: Watch) -> None:
    """Let a watch see nothing any more."""
    global _watches  # noqa: PLW0603  as above
    with _lock:
        _watches = tuple(other for other in _watches if other is not watch)
        while not _watches and _patched:
            _patched.popitem()[1].undo()


def _patch(module: str, loaded: Any) -> None:
    with _lock:
        if not _watches or module in _patched:
            return
        patches = Patches(module)
        with patches.all_or_none():
            _HOOKS[module](patches, loaded)
        _patched[module] = patches


# -- what is sent, through the gates that it has to pass -------------------------------------


def _passages(outgoing: Outgoing, *, awaiting: bool) -> list[tuple[Passage, float]]:
    """Return each gate that a request has to pass, and how long it may wait there."""
    if _inside.get():
        return []
    reap()
    found = ((watch, watch.watched_at(outgoing.parts)) for watch in _watches)
    return [
        (Passage(watched, outgoing), watch.patience(awaiting=awaiting))
        for watch, watched in found
        if watched is not None
    ]


def _send(outgoing: Outgoing, send: Callable[[], Any], metering: Metering) -> Any:
    passages = _passages(outgoing, awaiting=False)
    if not passages:
        return send()
    with _Crossing([passage for passage, _ in passages], metering) as crossing:
        for passage, wait in passages:
            run(passage.admission(wait))
        crossing.go()
        crossing.response = send()
    return crossing.response


async def _send_async(
    outgoing: Outgoing, send: Callable[[], Awaitable[Any]], metering: Metering
) -> Any:
    passages = _passages(outgoing, awaiting=True)
    if not passages:
        return await send()
    with _Crossing([passage for passage, _ in passages], metering) as crossing:
        for passage, wait in passages:
            await run_async(passage.admission(wait), blocks=passage.blocks)
        crossing.go()
        crossing.response = await send()
    return crossing.response


class _Crossing:
    """Ends the passages of one request, however it goes."""

    def __init__(self, passages: Sequence[Passage], metering: Metering) -> None:
        self._passages = passages
        self._metering = metering
        self._gone = False
        self.response: Any = None

    def go(self) -> None:
        """Say that every gate is passed."""
        self._gone = True

    def __enter__(self) -> Self:
        self._token = _inside.set(True)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _inside.reset(self._token)
        for passage in self._passages:
            if error is None:
                self._answered(passage)
            elif self._gone:
                passage.failed(error)
            else:
                passage.withdrawn()

    def _answered(self, passage: Passage) -> None:
        response = self.response
        status = response.status_code if hasattr(response, "status_code") else response.status
        meter = passage.answered(status, response.headers.items())
        if meter is not None:
            self._metering(meter, response)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


# -- requests --------------------------------------------------------------------------------


def _hook_requests(patches: Patches, module: Any) -> None:
    patches.expect(module, "adapters.HTTPAdapter.send", ("request", "stream"))
    patches.wrap(module.adapters.HTTPAdapter, "send", _by_requests)


def _by_requests(
    original: Any, adapter: Any, request: Any, stream: bool = False, *args: Any, **kwargs: Any
) -> Any:
    def metering(meter: StreamMeter, response: Any) -> None:
        try:
            if not stream:  # else its reader would find nothing
                meter.answer(_parsed(response.content))
        finally:
            meter.end()

    outgoing = Outgoing.of(request.method, request.url, lambda: request.body)
    return _send(outgoing, lambda: original(adapter, request, stream, *args, **kwargs), metering)


# -- httpx, httpx2 ---------------------------------------------------------------------------


def _hook_httpx(patches: Patches, module: Any) -> None:
    for client, hook in (("Client", _by_httpx), ("AsyncClient", _by_httpx_async)):
        patches.expect(module, f"{client}._send_single_request", ("request",))
        patches.wrap(getattr(module, client), "_send_single_request", hook)


def _by_httpx(original: Any, client: Any, request: Any) -> Any:
    try:
        return _send(_of_httpx(request), lambda: original(client, request), _meter_httpx)
    except AgentBudgetError as error:
        return _told(request, error)


async def _by_httpx_async(original: Any, client: Any, request: Any) -> Any:
    try:
        return await _send_async(
            _of_httpx(request), lambda: original(client, request), _meter_httpx
        )
    except AgentBudgetError as error:
        return _told(request, error)


def _of_httpx(request: Any) -> Outgoing:
    return Outgoing.of(request.method, str(request.url), lambda: getattr(request, "_content", None))


def _meter_httpx(meter: StreamMeter, response: Any) -> None:
    BodyMeter(meter, response, None)
    weakref.finalize(response, later, meter.end).atexit = False


def _told(request: Any, error: AgentBudgetError) -> Any:
    """Raise an error, or answer an SDK that would retry it as the API itself might."""
    if _STAINLESS not in request.headers:
        raise error
    headers = {"x-should-retry": "false"}
    after = getattr(error, "retry_after", None)
    if after is not None:
        headers["retry-after"] = str(math.ceil(after))
    status = 429 if isinstance(error, QuotaExceeded) else 503
    body = {"error": {"message": str(error), "type": type(error).__name__}}
    httpx = sys.modules[type(request).__module__.partition(".")[0]]
    return httpx.Response(status, headers=headers, json=body, request=request)


# -- aiohttp ---------------------------------------------------------------------------------


def _hook_aiohttp(patches: Patches, module: Any) -> None:
    patches.expect(module, "ClientSession._request", ("method", "str_or_url"))
    patches.expect(module, "ClientSession._build_url", ())
    patches.wrap(module.ClientSession, "_request", _by_aiohttp)


async def _by_aiohttp(
    original: Any, session: Any, method: str, str_or_url: Any, **kwargs: Any
) -> Any:
    try:
        url = str(session._build_url(str_or_url))  # noqa: SLF001  a session may have a base URL
    except (ValueError, TypeError):
        url = ""  # the client says better what is wrong with it
    body = kwargs.get("json") if kwargs.get("json") is not None else kwargs.get("data")
    return await _send_async(
        Outgoing.of(method, url, lambda: body),
        lambda: original(session, method, str_or_url, **kwargs),
        _meter_aiohttp,
    )


def _meter_aiohttp(meter: StreamMeter, response: Any) -> None:
    read, release, close = response.read, response.release, response.close

    async def metered() -> Any:
        body = await read()
        meter.answer(_parsed(body))
        meter.end()
        return body

    def ended(end: Callable[[], Any]) -> Any:
        meter.end()
        return end()

    response.read = metered
    response.release, response.close = partial(ended, release), partial(ended, close)
    weakref.finalize(response, later, meter.end).atexit = False


_HOOKS: Final[dict[str, Callable[[Patches, Any], None]]] = {
    "requests": _hook_requests,
    "httpx": _hook_httpx,
    "httpx2": _hook_httpx,
    "aiohttp": _hook_aiohttp,
}
