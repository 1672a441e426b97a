"""The guard on the google-genai SDK: what of its API is billed, how its answers are capped.

=======================  ====================================================================
``_request_once``        one attempt: held before it is sent, settled by its response, or metered
``generate_content`` …   what callers see: `Binding.on_exhausted`, and the mark of what is paid
``connect``              live sessions are refused: nothing sent over a WebSocket can be held
``do_request``           so are interactions, whose clients are others than that of the rest
=======================  ====================================================================

A retry of the SDK is an attempt with a hold of its own. Where the SDK itself sends an attempt
again, after a connection of aiohttp's broke, both share one hold.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from budget_core.call import CallRequest
from budget_core.errors import BudgetExhausted
from budget_core.estimate import USEFUL
from budget_core.finalizers import later
from budget_core.prompts import unbounded_in
from budget_core.sdk.claims import binding_of, claim, payers
from budget_core.sdk.dialects import GEMINI
from budget_core.sdk.exchange import Exchange
from budget_core.sdk.patches import Patches
from budget_core.sdk.providers import provider_at
from budget_core.sdk.requests import Api, Body, Endpoint
from budget_core.sdk.sockets import refuse_sockets, refuse_unbounded
from budget_core.sdk.streams import StreamMeter
from budget_core.wrapping import mark_settled

_CAP: Final = "generationConfig.maxOutputTokens"
_LEAST_THOUGHT: Final = 512
"""A ``thinkingBudget`` that every model takes: their own minima differ, and are at most this."""

_AT_CLIENT: Final = frozenset({"functionDeclarations", "computerUse"})
"""Tools that run at the client; any other runs at the provider, and is billed beside tokens."""
_KEPT: Final = {
    "cachedContent": "a stored context (cachedContent)",
    "continuationToken": "an answer kept at the provider (continuationToken)",
}
_MODEL: Final = re.compile(r"/(models|tunedModels|endpoints)/([^/:]+):[A-Za-z]+$")
_RETRIED: Final = "_budget_attempted"


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(map(str.capitalize, rest))


def _spelled(value: Any) -> Any:
    """Return an object with its keys in the one of both spellings that the SDK uses."""
    if not isinstance(value, Mapping):
        return value
    return {_camel(key): item for key, item in value.items()}


def _read(data: Mapping[str, Any]) -> Body:
    """Return a body with everything in the place where it is looked for."""
    body: Body = _spelled(data)
    if isinstance(config := _spelled(body.get("generationConfig")), Mapping):
        thinking = "thinkingConfig"
        thoughts = {thinking: _spelled(config[thinking])} if thinking in config else {}
        body["generationConfig"] = {**config, **thoughts}
    return body


def _unbounded(body: Mapping[str, Any]) -> str | None:
    for key, what in _KEPT.items():
        if body.get(key):
            return what
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list | tuple) else (tools,):
        for name in tool if isinstance(tool, Mapping) else ():
            if _camel(name) not in _AT_CLIENT:
                return f"a tool that runs at the provider ({name})"
    return unbounded_in(body)


def _thoughts(body: Mapping[str, Any]) -> int:
    config = body.get("generationConfig")
    thinking = config.get("thinkingConfig") if isinstance(config, Mapping) else None
    budget = thinking.get("thinkingBudget") if isinstance(thinking, Mapping) else None
    return budget if isinstance(budget, int) else 0


def _least(body: Mapping[str, Any]) -> int:
    return min(thoughts, _LEAST_THOUGHT) + USEFUL if (thoughts := _thoughts(body)) > 0 else 0


def _think_less(body: Body, cap: int) -> Body:
    """Leave an answer some of the cap: thoughts are counted against it."""
    if (thoughts := _thoughts(body)) < cap:
        return body
    config = body["generationConfig"]
    fewer = min(thoughts, max(_LEAST_THOUGHT, cap - USEFUL))
    thinking = {**config["thinkingConfig"], "thinkingBudget": fewer}
    return {**body, "generationConfig": {**config, "thinkingConfig": thinking}}


_GENERATE: Final = Endpoint(
    messages="contents",
    caps=(_CAP,),
    cap_for=lambda _model, _provider: _CAP,
    counts=("generationConfig.candidateCount",),
    dialect=GEMINI,
    least=_least,
    adjust=_think_less,
    unbounded=_unbounded,
)
_PREDICT: Final = "a prediction (images, video, or a model of Vertex)"
_BATCH: Final = "a batch, which is answered and billed later"
_TUNING: Final = "tuning"

API: Final = Api(
    {
        ":generateContent": _GENERATE,
        ":streamGenerateContent": _GENERATE,
        ":embedContent": Endpoint(messages="content", answers=False, dialect=GEMINI),
        ":batchEmbedContents": Endpoint(messages="requests", answers=False, dialect=GEMINI),
        ":predict": Endpoint(beyond=_PREDICT),
        ":predictLongRunning": Endpoint(beyond=_PREDICT),
        ":batchGenerateContent": Endpoint(beyond=_BATCH),
        ":asyncBatchEmbedContent": Endpoint(beyond=_BATCH),
        "/batchPredictionJobs": Endpoint(beyond=_BATCH),
        "/tunedModels": Endpoint(beyond=_TUNING),
        "/tuningJobs": Endpoint(beyond=_TUNING),
        "/cachedContents": Endpoint(beyond="a stored context, which is billed by the hour"),
        "/interactions": Endpoint(beyond="an interaction"),
    },
    free=re.compile(
        r":(countTokens|computeTokens|fetchPredictOperation|cancel)$|/interactions/[^/]+/cancel$"
        r"|/(files|files:register|fileSearchStores|auth_tokens|credentials)$|/webhooks(/|$)"
    ),
)
"""What the SDK can ask of a provider.

https://ai.google.dev/api; what is free is managed or counted, not generated.
"""

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


class GoogleGuard:
    """Guards every client of google-genai, of Gemini's own API and of Vertex.

    Attributes:
        api: what of the SDK's API is billed.
    """

    def __init__(self) -> None:
        self.api = API
        self._patches = Patches("google.genai")

    def install(self) -> None:
        """Guard every client of this process, those made earlier too. Twice is once.

        Without a session that claims a call, the call passes untouched.

        Raises:
            GuardError: the SDK's insides are not what this guard knows.
        """
        if self._patches.active:
            return
        patches = self._patches
        base = import_module("google.genai._api_client")
        models, chats = import_module("google.genai.models"), import_module("google.genai.chats")
        answers = _answers(models, chats)
        for path, parameters in _EXPECTED.items():
            patches.expect(base, path, parameters)
        for module, owner, name, _hook in answers:
            patches.expect(module, f"{owner}.{name}", ("self",))
        patches.wrap(base.BaseApiClient, "_request_once", _request_once)
        patches.wrap(base.BaseApiClient, "_async_request_once", _async_request_once)
        for module, owner, name, hook in answers:
            patches.wrap(getattr(module, owner), name, hook)
        refuse_sockets(patches, _SOCKETS)
        _refuse_interactions(patches)

    def uninstall(self) -> None:
        """Take the hooks out."""
        self._patches.undo()


# -- one attempt -----------------------------------------------------------------------------


class _Retry(Exchange):
    """A further attempt at the same request: no call of its own to the detection of loops."""

    def _request(self, *, again: bool = False) -> CallRequest:  # noqa: ARG002  it always is
        return super()._request(again=True)


def _request_once(original: Any, client: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
    exchange = _exchange(client, http_request)
    if exchange is None:
        return original(client, http_request, *args, **kwargs)
    with _conducted(exchange, http_request):
        exchange.open()
        _seal(http_request, exchange)
        response = original(client, http_request, *args, **kwargs)
        _conclude(exchange, response)
        return response


async def _async_request_once(
    original: Any, client: Any, http_request: Any, *args: Any, **kwargs: Any
) -> Any:
    exchange = _exchange(client, http_request)
    if exchange is None:
        return await original(client, http_request, *args, **kwargs)
    with _conducted(exchange, http_request):
        await exchange.open_async()
        _seal(http_request, exchange)
        response = await original(client, http_request, *args, **kwargs)
        _conclude(exchange, response)
        return response


def _exchange(client: Any, http_request: Any) -> Exchange | None:
    if not isinstance(data := http_request.data, Mapping):  # bytes of an upload, which is free
        return None
    url = urlsplit(http_request.url)
    endpoint = API.endpoint(http_request.method, url.path)
    if endpoint is None or (claimed := claim(client)) is None:
        return None
    found = _MODEL.search(unquote(url.path))
    named = {} if found is None else {"model": _model(*found.groups())}
    kind = _Retry if hasattr(http_request, _RETRIED) else Exchange
    setattr(http_request, _RETRIED, True)
    return kind(claimed, endpoint, {**_read(data), **named}, provider_at(url.hostname or ""))


def _model(collection: str, name: str) -> str:
    return name if collection == "models" else f"{collection}/{name}"


@contextmanager
def _conducted(exchange: Exchange, http_request: Any) -> Iterator[None]:
    """End an attempt in every case, and give the request back as it was."""
    before = http_request.data
    try:
        yield
        exchange.returned()
    except BaseException as error:
        exchange.sent = exchange.sent and not _kept_back(error, http_request.data)
        exchange.failed(error)
        raise
    finally:
        http_request.data = before


def _seal(http_request: Any, exchange: Exchange) -> None:
    """Put on the request what is held; its model stands in the URL."""
    given = {"model": http_request.data["model"]} if "model" in http_request.data else {}
    body = {key: value for key, value in exchange.body.items() if key != "model"}
    http_request.data = {**body, **given}
    exchange.sent = True


def _kept_back(error: BaseException, data: Any) -> bool:
    """Tell whether a request failed before it was sent: without credentials, or a body."""
    if type(error).__module__.startswith("google.auth"):
        return type(error).__name__ in ("RefreshError", "DefaultCredentialsError")
    if not isinstance(error, TypeError | ValueError):
        return False
    try:
        json.dumps(data)
    except (TypeError, ValueError):
        return True
    return False


def _conclude(exchange: Exchange, response: Any) -> None:
    if isinstance(response.response_stream, list):
        exchange.settle(response, lambda: response.json)
    elif (metering := exchange.streams()) is not None:
        segments = _Segments(metering.meter, response)
        if (answering := _answering.get()) is not None:
            answering.opened.append(segments)
        # nobody may ever read it: then what it may have cost is charged when it is collected
        weakref.finalize(response, later, metering.meter.end).atexit = False


class _Segments:
    """Stands between a streamed response and its readers.

    It stops the stream when the hold is spent, settles the call when it is read or given up, and
    closes the connection then: what nobody reads need not be written.

    Args:
        meter: counts the events.
        response: of the SDK; its own methods are covered, on this instance.
    """

    def __init__(self, meter: StreamMeter, response: Any) -> None:
        self._meter = meter
        self._stream = response.response_stream
        kind, unread = type(response), weakref.ref(response)  # no cycle: it may go at any time
        response.segments = lambda: self._read(kind.segments(unread()))
        response.async_segments = lambda: self._aread(kind.async_segments(unread()))

    def close(self) -> None:
        """Settle the call, and close the connection."""
        self._meter.end()
        self._stream.close()

    async def aclose(self) -> None:
        """Do what `close` does."""
        self._meter.end()
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()
        else:
            self._stream.close()  # aiohttp's

    def _read(self, segments: Iterator[Any]) -> Iterator[Any]:
        try:
            for segment in segments:
                self._note(segment)
                yield segment
        finally:
            self.close()

    async def _aread(self, segments: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for segment in segments:
                self._note(segment)
                yield segment
        finally:
            await self.aclose()

    def _note(self, segment: Any) -> None:
        if isinstance(segment, Mapping):
            self._meter.note(segment)


# -- what callers see ------------------------------------------------------------------------


class _Answering(NamedTuple):
    """A call of one of the SDK's methods, which makes requests, and calls others of them.

    Attributes:
        client: sends the requests.
        opened: the streams among their responses.
    """

    client: Any
    opened: list[_Segments]


_answering: ContextVar[_Answering | None] = ContextVar("budget_google_answering", default=None)
_END: Final = object()


def _answers(models: Any, chats: Any) -> list[tuple[Any, str, str, Callable[..., Any]]]:
    hooks = []
    for module, owner, names in (
        (models, "Models", ("generate_content", "embed_content")),
        (chats, "Chat", ("send_message",)),
    ):
        for name in names:
            hooks.append((module, owner, name, _answer))
            hooks.append((module, f"Async{owner}", name, _answer_async))
    for module, owner, name in (
        (models, "Models", "generate_content_stream"),
        (chats, "Chat", "send_message_stream"),
    ):
        hooks.append((module, owner, name, _stream))
        hooks.append((module, f"Async{owner}", name, _stream_async))
    return hooks


def _answer(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    if (answering := _outermost(resource)) is None:
        return original(resource, *args, **kwargs)
    with _telling(answering):
        answer = original(resource, *args, **kwargs)
        mark_settled(answer)
        return answer
    return None


async def _answer_async(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    if (answering := _outermost(resource)) is None:
        return await original(resource, *args, **kwargs)
    with _telling(answering):
        answer = await original(resource, *args, **kwargs)
        mark_settled(answer)
        return answer
    return None


def _stream(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    chunks = original(resource, *args, **kwargs)
    answering = _outermost(resource)
    return chunks if answering is None else _Stream(_read_on(answering, chunks))


async def _stream_async(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    if (answering := _outermost(resource)) is None:
        return await original(resource, *args, **kwargs)
    chunks = _nothing()
    with _telling(answering):
        chunks = await original(resource, *args, **kwargs)
    return _AsyncStream(_read_on_async(answering, chunks))


def _outermost(resource: Any) -> _Answering | None:
    """Return a call that is guarded, unless the SDK makes it for another such call."""
    client = getattr(resource, "_modules", resource)._api_client  # noqa: SLF001
    around = _answering.get()
    if around is not None and around.client is client:
        return None
    return _Answering(client, []) if payers(client) else None


@contextmanager
def _telling(answering: _Answering, *, midway: bool = False) -> Iterator[None]:
    """Tell a client's `on_exhausted` in place of raising; not of a stream that is stopped."""
    token = _answering.set(answering)
    try:
        yield
    except BudgetExhausted as error:
        binding = binding_of(answering.client)
        if midway or binding is None or binding.on_exhausted is None:
            raise
        binding.on_exhausted(error)
    finally:
        _answering.reset(token)


def _read_on(answering: _Answering, chunks: Any) -> Iterator[Any]:
    chunk, begun = _END, False
    try:
        while True:
            with _telling(answering, midway=begun):
                chunk = next(chunks, _END)
            if chunk is _END:
                return
            begun = True
            yield chunk
            chunk = _END
    finally:
        chunks.close()
        for segments in answering.opened:
            segments.close()


async def _read_on_async(answering: _Answering, chunks: Any) -> AsyncIterator[Any]:
    chunk, begun = _END, False
    try:
        while True:
            with _telling(answering, midway=begun):
                chunk = await anext(chunks, _END)
            if chunk is _END:
                return
            begun = True
            yield chunk
            chunk = _END
    finally:
        for segments in answering.opened:  # first: the SDK's generators end when they are collected
            await segments.aclose()
        await chunks.aclose()


async def _nothing() -> AsyncIterator[Any]:
    if False:
        yield


class _Stream:
    """A generator of chunks that are paid for; unlike one, it takes a mark that says so."""

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        mark_settled(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chunks, name)


class _AsyncStream:
    """An asynchronous one."""

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        mark_settled(self)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Any:
        return self._chunks.__anext__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chunks, name)


# -- interactions ----------------------------------------------------------------------------


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


GUARD: Final = GoogleGuard()
