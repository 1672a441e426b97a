"""The guard on SDKs that Stainless generates (openai, anthropic): four small hooks.

======================  =====================================================================
``request``             opens a call, or takes a pending one over, before the SDK does anything
``_build_request``      at each attempt: checks the final body; a retry gets a hold of its own
``_sleep_for_retry``    ends the attempt that failed
``_process_response``   settles the response, or meters it while its body comes in
======================  =====================================================================

The methods are private to the SDKs; `StainlessGuard.hook` checks that they are what it knows.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from budget_core.errors import BudgetExhausted
from budget_core.runtime.finalizers import when_dropped
from budget_core.sdk import background
from budget_core.sdk.claims import binding_of, claim
from budget_core.sdk.endpoints import Body
from budget_core.sdk.exchange import Exchange, current, read_body
from budget_core.sdk.guard import Guard
from budget_core.sdk.hosts import server_at
from budget_core.sdk.patches import Patches
from budget_core.sdk.stream_events import RESPONSES
from budget_core.sdk.streams import BodyMeter, StreamMeter

_HOOKS: Final = {
    "request": ("self", "cast_to", "options"),
    "_build_request": ("self", "options"),
    "_sleep_for_retry": ("self", "response"),
    "_process_response": ("self", "response"),
}
_CLIENTS: Final = ("SyncAPIClient", "AsyncAPIClient")
_ERROR: Final = 400
_ABSENT: Final = frozenset({"Omit", "NotGiven"})
"""What a parameter is that its caller left out; it is not sent."""
_HELPER: Final = "x-stainless-helper"
"""Headers by which an SDK's own stream helpers make themselves known."""


_helping: ContextVar[bool] = ContextVar("budget_stream_helper", default=False)


class StainlessGuard(Guard):
    """Puts the hooks into an SDK's base clients."""

    def hook(self, patches: Patches) -> None:
        base = import_module(f"{patches.sdk}._base_client")
        for client in _CLIENTS:
            for name, parameters in _HOOKS.items():
                patches.expect(base, f"{client}.{name}", parameters)
        sync, asynchronous = base.SyncAPIClient, base.AsyncAPIClient
        patches.wrap(sync, "request", self._request)
        patches.wrap(asynchronous, "request", self._request_async)
        patches.wrap(base.BaseClient, "_build_request", _build_request)
        patches.wrap(sync, "_sleep_for_retry", _sleep_for_retry)
        patches.wrap(asynchronous, "_sleep_for_retry", _sleep_for_retry_async)
        patches.wrap(sync, "_process_response", _process_response)
        patches.wrap(asynchronous, "_process_response", _process_response_async)

    def _exchange(self, client: Any, options: Any) -> Exchange | None:
        endpoint = self.api.endpoint(options.method, options.url)
        if endpoint is None:
            return None
        claimed = claim(client)
        if claimed is None:
            return None
        return Exchange(claimed, endpoint, merged_body(options), server_at(client.base_url.host))

    def _request(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        try:
            exchange = self._exchange(client, options)
            if exchange is None and current.get() is None:
                return original(client, cast_to, options, **kwargs)
            if exchange is None:
                with _unwatched():
                    return original(client, cast_to, options, **kwargs)
            with exchange:
                exchange.open()
                return original(client, cast_to, options, **kwargs)
        except BudgetExhausted as error:
            return _told(client, options, error)

    async def _request_async(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        try:
            exchange = self._exchange(client, options)
            if exchange is None and current.get() is None:
                return await original(client, cast_to, options, **kwargs)
            if exchange is None:
                with _unwatched():
                    return await original(client, cast_to, options, **kwargs)
            with exchange:
                await exchange.open_async()
                return await original(client, cast_to, options, **kwargs)
        except BudgetExhausted as error:
            return _told(client, options, error)


def merged_body(options: Any) -> Body:
    """Return what is asked for, merged as the SDK will; the very object if that is all of it."""
    body: Body = {}
    for part in filter(None, (options.json_data, options.extra_json)):
        if isinstance(part, dict | Mapping):
            for key, value in part.items():
                if type(value).__name__ not in _ABSENT:
                    body[key] = value
    return options.json_data if body == options.json_data else body


@contextmanager
def _unwatched() -> Iterator[None]:
    """Hide the exchange of a call that this one is made inside of, by a middleware say."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)


def _told(client: Any, options: Any, error: BudgetExhausted) -> None:
    """Tell a client's `on_exhausted` in place of raising; a stream helper cannot do with None."""
    binding = binding_of(client)
    if binding is None or binding.on_exhausted is None:
        raise error
    binding.on_exhausted(error)
    headers = options.headers if isinstance(options.headers, Mapping) else {}
    if _helping.get() or any(str(name).lower().startswith(_HELPER) for name in headers):
        raise error


def helped(original: Any, manager: Any) -> Any:
    """Begin the stream of a helper: a hook on the method by which it is entered."""
    token = _helping.set(True)
    try:
        return original(manager)
    finally:
        _helping.reset(token)


async def helped_async(original: Any, manager: Any) -> Any:
    """Async version of `helped`."""
    token = _helping.set(True)
    try:
        return await original(manager)
    finally:
        _helping.reset(token)


def _build_request(original: Any, client: Any, options: Any, **kwargs: Any) -> Any:
    if (exchange := current.get()) is None:
        return original(client, options, **kwargs)
    before = given, extra = options.json_data, options.extra_json
    same = given is exchange.asked and extra is None
    body = exchange.check(exchange.asked if same else merged_body(options))
    if body is exchange.asked:  # nothing is changed
        request = original(client, options, **kwargs)
    else:
        options.json_data, options.extra_json = body, None
        try:
            request = original(client, options, **kwargs)
        finally:
            options.json_data, options.extra_json = before
    exchange.sent = True
    return request


def _sleep_for_retry(original: Any, client: Any, **kwargs: Any) -> Any:
    if (exchange := current.get()) is not None:
        exchange.attempt_failed(kwargs.get("response"), sys.exc_info()[1])
    return original(client, **kwargs)


async def _sleep_for_retry_async(original: Any, client: Any, **kwargs: Any) -> Any:
    result = await _sleep_for_retry(original, client, **kwargs)
    if (exchange := current.get()) is not None:
        await exchange.retry_async()
    return result


def _process_response(original: Any, client: Any, *, response: Any, **kwargs: Any) -> Any:
    if (exchange := _answered(response)) is None:
        _look(response)
        return original(client, response=response, **kwargs)
    result = None
    try:
        result = original(client, response=response, **kwargs)
        return _apart(result) if kwargs.get("stream") else result
    finally:  # also if the SDK fails to parse it
        exchange.settle(result, response.json, response.headers)


async def _process_response_async(
    original: Any, client: Any, *, response: Any, **kwargs: Any
) -> Any:
    if (exchange := _answered(response)) is None:
        _look(response)
        return await original(client, response=response, **kwargs)
    result = None
    try:
        result = await original(client, response=response, **kwargs)
        return _apart(result) if kwargs.get("stream") else result
    finally:
        exchange.settle(result, response.json, response.headers)


def _look(response: Any) -> None:
    """Settle a response that was made in the background, if this tells how it ended."""
    if response.status_code >= _ERROR:
        return
    call = background.looked_at(response.request.url.path)
    if call is None:
        return
    if _is_events(response):
        BodyMeter(StreamMeter(background.Watched(call), RESPONSES), response, None)
    else:
        background.settle(call, read_body(response.json))


def _apart(stream: Any) -> Any:
    """Let a stream go as soon as it is dropped: OpenAI's iterator refers to it, in a circle.

    Then its usage can still be read; in a garbage collection, which comes at any time, nothing can.
    """
    if "_iterator" in vars(stream) and hasattr(stream, "__stream__"):
        twin = copy.copy(stream)
        twin._iterator = None  # noqa: SLF001
        stream._iterator = twin.__stream__()  # noqa: SLF001
    return stream


def _answered(response: Any) -> Exchange | None:
    """Return which exchange a response ends; a body that is still to come is metered."""
    exchange = current.get()
    if exchange is None or response.status_code >= _ERROR:  # shown to a middleware
        return None
    unread = not (response.is_stream_consumed or response.is_closed)
    # one that somebody has read already, a hook or a recorder, is a stream to its caller still
    if unread or (exchange.asked.get("stream") and _is_events(response)):
        _meter(exchange, response)
    return exchange


def _is_events(response: Any) -> bool:
    return "event-stream" in response.headers.get("content-type", "")


def _meter(exchange: Exchange, response: Any) -> None:
    metering = exchange.streams()
    if metering is not None:
        BodyMeter(metering.meter, response, metering.unwanted)
        # it may never be read: then what it may have cost is charged when it is collected
        when_dropped(response, metering.meter.dropped)
