"""The hooks on HTTP clients: requests, httpx, httpx2 and aiohttp.

=========  ===================================  ================================================
requests   ``HTTPAdapter.send``                 each request, those of a redirect too
httpx(2)   ``Client._send_single_request``      likewise; whatever its transport
aiohttp    ``ClientSession._request``           each call, its redirects included
=========  ===================================  ================================================

Two of them are private: `Patches` checks that they are what is known here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from threading import RLock
from typing import Any, Final, Self, TypeAlias

from budget_core.errors import AgentBudgetError, QuotaExceeded
from budget_core.quota.request import Outgoing, WatchedRequest
from budget_core.runtime.finalizers import reap, when_dropped
from budget_core.runtime.imports import when_imported
from budget_core.runtime.waiting import run, run_async
from budget_core.sdk.patches import Patches
from budget_core.sdk.streams import BodyMeter, StreamMeter, parsed_json

Admission: TypeAlias = tuple[WatchedRequest, float]
"""A request, and the seconds that it may wait for its permit."""
Admitting: TypeAlias = Callable[[Outgoing, bool], Admission | None]
"""Returns what a watch has to do with a request, whose caller awaits if the flag says so."""
Metering: TypeAlias = Callable[[StreamMeter, Any], None]

_STAINLESS: Final = "x-stainless-lang"
"""The header by which SDKs make themselves known that retry whatever is raised here."""

_lock = RLock()  # reentrant: an import may run in here
_watches: tuple[Admitting, ...] = ()
_patched: dict[str, Patches] = {}
_awaited: set[str] = set()

_inside: ContextVar[bool] = ContextVar("budget_quota_inside", default=False)
"""Set while a request is sent: a client that sends by means of another one is seen once."""


def begin(watch: Admitting) -> None:
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


def end(watch: Admitting) -> None:
    global _watches  # noqa: PLW0603  as above
    with _lock:
        _watches = tuple(other for other in _watches if other != watch)
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


# -- what is sent, with the permits that it needs ---------------------------------------------


def _admissions(outgoing: Outgoing, *, awaiting: bool) -> list[Admission]:
    if _inside.get():
        return []
    reap()
    found = (watch(outgoing, awaiting) for watch in _watches)
    return [admission for admission in found if admission is not None]


def _send(outgoing: Outgoing, send: Callable[[], Any], metering: Metering) -> Any:
    admissions = _admissions(outgoing, awaiting=False)
    if not admissions:
        return send()
    with _Sending([request for request, _ in admissions], metering) as sending:
        for request, wait in admissions:
            run(request.admission(wait))
        sending.permitted = True
        sending.response = send()
    return sending.response


async def _send_async(
    outgoing: Outgoing, send: Callable[[], Awaitable[Any]], metering: Metering
) -> Any:
    admissions = _admissions(outgoing, awaiting=True)
    if not admissions:
        return await send()
    with _Sending([request for request, _ in admissions], metering) as sending:
        for request, wait in admissions:
            await run_async(request.admission(wait), blocks=request.blocks)
        sending.permitted = True
        sending.response = await send()
    return sending.response


class _Sending:
    """Ends a request at every watch, however it goes."""

    def __init__(self, requests: Sequence[WatchedRequest], metering: Metering) -> None:
        self._requests = requests
        self._metering = metering
        self.permitted = False
        self.response: Any = None

    def __enter__(self) -> Self:
        self._token = _inside.set(True)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _inside.reset(self._token)
        for request in self._requests:
            if error is None:
                self._answered(request)
            elif self.permitted:
                request.failed(error)
            else:
                request.withdrawn()

    def _answered(self, request: WatchedRequest) -> None:
        response = self.response
        status = response.status_code if hasattr(response, "status_code") else response.status
        meter = request.answered(status, response.headers.items())
        if meter is not None:
            self._metering(meter, response)


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
                meter.answer(parsed_json(response.content))
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
    when_dropped(response, meter.end)


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
        meter.answer(parsed_json(body))
        meter.end()
        return body

    def ended(end: Callable[[], Any]) -> Any:
        meter.end()
        return end()

    response.read = metered
    response.release, response.close = partial(ended, release), partial(ended, close)
    when_dropped(response, meter.end)


_HOOKS: Final[dict[str, Callable[[Patches, Any], None]]] = {
    "requests": _hook_requests,
    "httpx": _hook_httpx,
    "httpx2": _hook_httpx,
    "aiohttp": _hook_aiohttp,
}
