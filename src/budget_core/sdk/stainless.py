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

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final, Self

from budget_core.errors import BudgetExhausted
from budget_core.runtime.finalizers import when_dropped
from budget_core.sdk.claims import binding_of, claim
from budget_core.sdk.endpoints import Body
from budget_core.sdk.exchange import Exchange, current
from budget_core.sdk.guard import Guard
from budget_core.sdk.hosts import provider_at
from budget_core.sdk.patches import Patches
from budget_core.sdk.streams import BodyMeter
from budget_core.session.recording import mark_settled

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
        return Exchange(claimed, endpoint, merged_body(options), provider_at(client.base_url.host))

    def _request(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        try:
            exchange = self._exchange(client, options)
            if exchange is None:
                with _unwatched():
                    return original(client, cast_to, options, **kwargs)
            with _Conducted(exchange, options):
                exchange.open()
                _apply_body(options, exchange.body)
                return original(client, cast_to, options, **kwargs)
        except BudgetExhausted as error:
            return _told(client, options, error)

    async def _request_async(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        try:
            exchange = self._exchange(client, options)
            if exchange is None:
                with _unwatched():
                    return await original(client, cast_to, options, **kwargs)
            with _Conducted(exchange, options):
                await exchange.open_async()
                _apply_body(options, exchange.body)
                return await original(client, cast_to, options, **kwargs)
        except BudgetExhausted as error:
            return _told(client, options, error)


def merged_body(options: Any) -> Body:
    parts = (options.json_data, options.extra_json)
    return {
        key: value
        for part in parts
        if isinstance(part, Mapping)
        for key, value in part.items()
        if type(value).__name__ not in _ABSENT
    }


class _Conducted:  # a generator would be shorter, and ten times as slow
    """Let the hooks find the exchange, end it in every case, and give the options back."""

    __slots__ = ("_before", "_exchange", "_options", "_token")

    def __init__(self, exchange: Exchange, options: Any) -> None:
        self._exchange = exchange
        self._options = options
        self._before = options.json_data, options.extra_json

    def __enter__(self) -> None:
        self._token = current.set(self._exchange)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            if error is None:
                self._exchange.returned()
            else:
                self._exchange.failed(error)
        finally:
            current.reset(self._token)
            self._options.json_data, self._options.extra_json = self._before


@contextmanager
def _unwatched() -> Iterator[None]:
    """Hide the exchange of a call that this one is made inside of, by a middleware say."""
    token = current.set(None)
    try:
        yield
    finally:
        current.reset(token)


def _apply_body(options: Any, body: Body) -> None:
    if options.json_data is not None or body:
        options.json_data, options.extra_json = body, None


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
    same = options.json_data is exchange.body and options.extra_json is None
    _apply_body(options, exchange.check(exchange.body if same else merged_body(options)))
    request = original(client, options, **kwargs)
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
    with _Concluded(response) as concluded:
        concluded.result = original(client, response=response, **kwargs)
    return concluded.result


async def _process_response_async(
    original: Any, client: Any, *, response: Any, **kwargs: Any
) -> Any:
    with _Concluded(response) as concluded:
        concluded.result = await original(client, response=response, **kwargs)
    return concluded.result


class _Concluded:
    """Charge a response that is complete, also if the SDK fails to parse it; meter a stream."""

    __slots__ = ("_exchange", "_response", "_whole", "result")

    def __init__(self, response: Any) -> None:
        failed = response.status_code >= _ERROR  # shown to a middleware
        self._exchange = None if failed else current.get()
        self._response = response
        self._whole = response.is_stream_consumed or response.is_closed
        self.result: Any = None

    def __enter__(self) -> Self:
        if self._exchange is not None and not self._whole:
            _meter(self._exchange, self._response)
        return self

    def __exit__(self, *_: object) -> None:
        if self._exchange is None:
            return
        if self._whole:
            self._exchange.settle(self.result, self._response.json)
        else:
            mark_settled(self.result)


def _meter(exchange: Exchange, response: Any) -> None:
    metering = exchange.streams()
    if metering is not None:
        BodyMeter(metering.meter, response, metering.unwanted)
        # nobody may ever read it: then what it may have cost is charged when it is collected
        when_dropped(response, metering.meter.end)
