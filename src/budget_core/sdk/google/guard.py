"""The guard on the google-genai SDK.

=======================  ====================================================================
``_request_once``        one attempt: held before it is sent, settled by its response, or metered
``generate_content`` …   what callers see (`google_answers`)
``connect``              live sessions are refused: nothing sent over a WebSocket can be held
``do_request``           so are interactions, whose clients are others than that of the rest
=======================  ====================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from budget_core.sdk.google.api import API
from budget_core.sdk.google.attempts import async_request_once, request_once
from budget_core.sdk.google.methods import answers
from budget_core.sdk.guard import Guard
from budget_core.sdk.patches import Patches
from budget_core.sdk.unbounded import refuse_sockets, refuse_unbounded

_SOCKETS: Final = {
    "google.genai.live": ("AsyncLive",),
    "google.genai.live_music": ("AsyncLiveMusic",),
}
_EXPECTED: Final = {
    "BaseApiClient._request_once": ("self", "http_request", "stream"),
    "BaseApiClient._async_request_once": ("self", "http_request", "stream"),
    "HttpRequest": ("url", "method", "data"),
    "HttpResponse": ("headers", "response_stream"),
    "HttpResponse.segments": ("self",),
    "HttpResponse.async_segments": ("self",),
}
_INTERACTIONS: Final = "google.genai._gaos"
_INTERACTIONS_BEFORE_2: Final = "google.genai._interactions._base_client"


class GoogleGuard(Guard):
    """Guards every client of google-genai, of Gemini's own API and of Vertex."""

    def hook(self, patches: Patches) -> None:
        """Wrap attempts and what callers see; refuse what bypasses them."""
        base = import_module("google.genai._api_client")
        models, chats = import_module("google.genai.models"), import_module("google.genai.chats")
        methods = answers(models, chats)
        for path, parameters in _EXPECTED.items():
            patches.expect(base, path, parameters)
        for module, owner, name, _hook in methods:
            patches.expect(module, f"{owner}.{name}", ("self",))
        patches.wrap(base.BaseApiClient, "_request_once", request_once)
        patches.wrap(base.BaseApiClient, "_async_request_once", async_request_once)
        for module, owner, name, hook in methods:
            patches.wrap(getattr(module, owner), name, hook)
        refuse_sockets(patches, _SOCKETS)
        _refuse_interactions(patches)


def _refuse_interactions(patches: Patches) -> None:
    for kind in ("GeminiNextGenInteractions", "AsyncGeminiNextGenInteractions"):
        patches.wrap_later(f"{_INTERACTIONS}.google_genai", kind, "__init__", _remember_client)
    for kind, name in (("BaseSDK", "do_request"), ("AsyncBaseSDK", "do_request_async")):
        patches.wrap_later(f"{_INTERACTIONS}.basesdk", kind, name, _refuse)
    for kind in ("SyncAPIClient", "AsyncAPIClient"):
        patches.wrap_later(_INTERACTIONS_BEFORE_2, kind, "request", _refuse_before_2)


def _remember_client(original: Any, resource: Any, api_client: Any) -> None:
    original(resource, api_client)
    resource._api_client = api_client  # noqa: SLF001  whose budget it is


def _refuse(
    original: Any, resource: Any, hook_ctx: Any, request: Any, *args: Any, **kwargs: Any
) -> Any:
    client = getattr(resource, "_api_client", None)
    _refuse_billed(client, request.method, request.url.path)
    return original(resource, hook_ctx, request, *args, **kwargs)


def _refuse_before_2(
    original: Any, resource: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any
) -> Any:
    client = getattr(getattr(resource, "client_adapter", None), "_api_client", None)
    _refuse_billed(client, options.method, options.url)
    return original(resource, cast_to, options, *args, **kwargs)


def _refuse_billed(client: Any, method: str, path: str) -> None:
    if (endpoint := API.endpoint(method, path)) is not None:
        refuse_unbounded(client, endpoint.beyond or f"POST {path}")


GUARD: Final = GoogleGuard("google.genai", API)
