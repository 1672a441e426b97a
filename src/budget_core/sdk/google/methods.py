"""What callers of google-genai see: `Binding.on_exhausted`, and the mark of what is paid for.

The SDK's methods are made of each other, and one of them may make several requests (a tool is
called, an answer is continued): the outermost one counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from budget_core.errors import BudgetExhausted
from budget_core.sdk.claims import binding_of, payers
from budget_core.session.recording import mark_settled


class Answering(NamedTuple):
    """A call of one of the SDK's methods, which makes requests, and calls others of them.

    Attributes:
        client: sends the requests.
        opened: the streams among their responses, each with `close` and `aclose`.
    """

    client: Any
    opened: list[Any]


answering: ContextVar[Answering | None] = ContextVar("budget_google_answering", default=None)
"""The call that is being answered here."""

_END: Final = object()


def answers(models: Any, chats: Any) -> list[tuple[Any, str, str, Callable[..., Any]]]:
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
    if (call := _outermost(resource)) is None:
        return original(resource, *args, **kwargs)
    with _telling(call):
        answer = original(resource, *args, **kwargs)
        mark_settled(answer)
        return answer
    return None


async def _answer_async(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    if (call := _outermost(resource)) is None:
        return await original(resource, *args, **kwargs)
    with _telling(call):
        answer = await original(resource, *args, **kwargs)
        mark_settled(answer)
        return answer
    return None


def _stream(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    chunks = original(resource, *args, **kwargs)
    call = _outermost(resource)
    if call is None:
        return chunks
    paid = _read_on(call, chunks)
    mark_settled(paid)
    return paid


async def _stream_async(original: Any, resource: Any, *args: Any, **kwargs: Any) -> Any:
    if (call := _outermost(resource)) is None:
        return await original(resource, *args, **kwargs)
    chunks = _nothing()
    with _telling(call):
        chunks = await original(resource, *args, **kwargs)
    paid = _read_on_async(call, chunks)
    mark_settled(paid)
    return paid


def _outermost(resource: Any) -> Answering | None:
    """Return a call that is guarded, unless the SDK makes it for another such call."""
    client = getattr(resource, "_modules", resource)._api_client  # noqa: SLF001
    around = answering.get()
    if around is not None and around.client is client:
        return None
    return Answering(client, []) if payers(client) else None


@contextmanager
def _telling(call: Answering, *, midway: bool = False) -> Iterator[None]:
    """Tell a client's `on_exhausted` in place of raising; not of a stream that is stopped."""
    token = answering.set(call)
    try:
        yield
    except BudgetExhausted as error:
        binding = binding_of(call.client)
        if midway or binding is None or binding.on_exhausted is None:
            raise
        binding.on_exhausted(error)
    finally:
        answering.reset(token)


def _read_on(call: Answering, chunks: Iterable[Any]) -> Iterator[Any]:
    reader, chunk, begun = iter(chunks), _END, False
    try:
        while True:
            with _telling(call, midway=begun):
                chunk = next(reader, _END)
            if chunk is _END:
                return
            begun = True
            yield chunk
            chunk = _END
    finally:
        for unread in (reader, *call.opened):
            if hasattr(unread, "close"):  # a tool's wrapper may have none
                unread.close()


async def _read_on_async(call: Answering, chunks: AsyncIterable[Any]) -> AsyncIterator[Any]:
    reader, chunk, begun = aiter(chunks), _END, False
    try:
        while True:
            with _telling(call, midway=begun):
                chunk = await anext(reader, _END)
            if chunk is _END:
                return
            begun = True
            yield chunk
            chunk = _END
    finally:
        # streams first: the SDK's generators end when they are collected
        for unread in (*call.opened, reader):
            if hasattr(unread, "aclose"):
                await unread.aclose()


async def _nothing() -> AsyncIterator[Any]:
    if False:
        yield
