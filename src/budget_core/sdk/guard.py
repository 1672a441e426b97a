"""The guard on SDKs that Stainless generates (openai, anthropic): four small hooks.

======================  =====================================================================
``request``             opens a call, or takes a pending one over, before the SDK does anything
``_build_request``      at each attempt: checks the final body; a retry gets a hold of its own
``_sleep_for_retry``    ends the attempt that failed
``_process_response``   settles the response, or meters it while its body comes in
======================  =====================================================================

The methods are private to the SDKs; `Guard.install` checks that they are what it knows.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from budget_core.errors import GuardError
from budget_core.sdk.exchange import Exchange, claim, current
from budget_core.sdk.providers import provider_at
from budget_core.sdk.requests import Endpoint
from budget_core.wrapping import mark_settled

_HOOKS: Final = {
    "request": ("self", "cast_to", "options"),
    "_build_request": ("self", "options"),
    "_sleep_for_retry": ("self", "response"),
    "_process_response": ("self", "response"),
}


class Guard:
    """Puts the hooks into an SDK's base clients, and takes them out again.

    Args:
        sdk: the SDK's module.
        endpoints: its APIs by path.
    """

    def __init__(self, sdk: str, endpoints: Mapping[str, Endpoint]) -> None:
        self._sdk = sdk
        self._endpoints = endpoints
        self._restore: list[Callable[[], None]] = []

    def install(self) -> None:
        """Guard every client of this process. Installing twice is installing once.

        Raises:
            GuardError: the SDK's insides are not what this guard knows.
        """
        if self._restore:
            return
        base = import_module(f"{self._sdk}._base_client")
        self._check(base)
        self._wrap(base.SyncAPIClient, "request", self._request)
        self._wrap(base.AsyncAPIClient, "request", self._request_async)
        self._wrap(base.BaseClient, "_build_request", _build_request)
        for client in (base.SyncAPIClient, base.AsyncAPIClient):
            self._wrap(client, "_sleep_for_retry", _sleep_for_retry)
        self._wrap(base.SyncAPIClient, "_process_response", _process_response)
        self._wrap(base.AsyncAPIClient, "_process_response", _process_response_async)

    def uninstall(self) -> None:
        """Take the hooks out."""
        while self._restore:
            self._restore.pop()()

    def _check(self, base: Any) -> None:
        for client in ("SyncAPIClient", "AsyncAPIClient"):
            for name, wanted in _HOOKS.items():
                method = getattr(getattr(base, client, None), name, None)
                if method is None or not set(wanted) <= set(inspect.signature(method).parameters):
                    version = getattr(sys.modules[self._sdk], "__version__", "unknown")
                    raise GuardError(
                        f"{self._sdk} {version} cannot be guarded: {client}.{name} is not what "
                        "this version of budget-suite knows. Nothing is enforced on its calls. "
                        f"Update budget-suite, or install an earlier {self._sdk}."
                    )

    def _wrap(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = owner.__dict__[name]

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return hook(original, *args, **kwargs)

        setattr(owner, name, hooked)
        self._restore.append(lambda: setattr(owner, name, original))

    def _exchange(self, client: Any, options: Any) -> Exchange | None:
        endpoint = self._endpoints.get(options.url) or self._by_suffix(options.url)
        if endpoint is None or options.json_data is None:
            return None
        claimed = claim()
        if claimed is None:
            return None
        return Exchange(claimed, endpoint, options, provider_at(client.base_url.host))

    def _by_suffix(self, url: str) -> Endpoint | None:
        path = url.partition("?")[0].rstrip("/")
        return next((e for suffix, e in self._endpoints.items() if path.endswith(suffix)), None)

    def _request(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        exchange = self._exchange(client, options)
        if exchange is None:
            return original(client, cast_to, options, **kwargs)
        token = current.set(exchange)
        try:
            exchange.open()
            return original(client, cast_to, options, **kwargs)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            current.reset(token)
            exchange.close()

    async def _request_async(
        self, original: Any, client: Any, cast_to: Any, options: Any, **kwargs: Any
    ) -> Any:
        exchange = self._exchange(client, options)
        if exchange is None:
            return await original(client, cast_to, options, **kwargs)
        token = current.set(exchange)
        try:
            await exchange.open_async()
            return await original(client, cast_to, options, **kwargs)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            current.reset(token)
            exchange.close()


def _build_request(original: Any, client: Any, options: Any, **kwargs: Any) -> Any:
    if (exchange := current.get()) is None:
        return original(client, options, **kwargs)
    exchange.check(options)
    request = original(client, options, **kwargs)
    exchange.sent = True
    return request


def _sleep_for_retry(original: Any, client: Any, **kwargs: Any) -> Any:
    if (exchange := current.get()) is not None:
        exchange.attempt_failed(kwargs.get("response"), sys.exc_info()[1])
    return original(client, **kwargs)


def _process_response(original: Any, client: Any, *, response: Any, **kwargs: Any) -> Any:
    exchange = current.get()
    meter = exchange.responded(response) if exchange is not None else None
    result: Any = None
    try:
        result = original(client, response=response, **kwargs)
    finally:
        if exchange is not None:
            _conclude(exchange, meter, response, result)
    return result


async def _process_response_async(
    original: Any, client: Any, *, response: Any, **kwargs: Any
) -> Any:
    exchange = current.get()
    meter = exchange.responded(response) if exchange is not None else None
    result: Any = None
    try:
        result = await original(client, response=response, **kwargs)
    finally:
        if exchange is not None:
            _conclude(exchange, meter, response, result)
    return result


def _conclude(exchange: Exchange, meter: object, response: Any, result: Any) -> None:
    """Charge a response that is complete, also if the SDK then fails to parse it."""
    if meter is None:
        exchange.settle(response, result)
    else:
        mark_settled(result)
