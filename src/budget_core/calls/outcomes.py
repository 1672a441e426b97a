"""Whether an error proves that nothing was billed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any, Final

_ERROR: Final = 400

_MAYBE_BILLED: Final = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting for an answer that may have been made."""

_CLIENTS: Final = frozenset(
    {"aiohttp", "http", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib", "urllib3"}
)
"""HTTP clients, whose errors are about a request. Others reuse the names for what they like."""

_NEVER_SENT: Final = frozenset(
    {
        "ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL",
        "LocalProtocolError",
        "ClientConnectorError", "InvalidUrlClientError", "ConnectionTimeoutError",
        "NewConnectionError", "ConnectTimeoutError",
    }
)  # fmt: skip
"""Errors of httpx, aiohttp, and urllib3 before a request has left."""

_LOST: Final = frozenset(
    {
        "ReadError", "WriteError", "ReadTimeout", "WriteTimeout", "RemoteProtocolError",
        "ServerDisconnectedError", "ClientOSError", "ClientPayloadError", "SocketTimeoutError",
        "ProtocolError", "ReadTimeoutError", "IncompleteRead", "RemoteDisconnected",
    }
)  # fmt: skip
"""Their errors after it has left: an answer may have been made, and billed."""

_CLOSED: Final = "Cannot send a request, as the client has been closed"


def handled() -> int:
    """Return which error is being handled here: whatever fails from here on has that behind it."""
    return id(sys.exception())


def unbilled(
    error: BaseException | None, response: Any = None, *, before: int | None = None
) -> bool:
    """Return whether it is certain that the provider charges nothing for a call that failed.

    Certain is what the status of an HTTP answer says that a client has received, and that a
    connection was never made. Numbers that errors call their status or code say nothing: libraries
    give them to lost connections and to answers that they cannot read.

    Args:
        error: what was raised, if anything. Of the errors behind it, none may say otherwise.
        response: what the provider answered, as the HTTP client returned it, if anything did.
        before: what `handled` returned before the call was made: errors from there on are of other
            calls. None follows no error that was merely being handled when another was raised.
    """
    if (status := _status_of(response)) is not None and status >= _ERROR:
        return status not in _MAYBE_BILLED
    certain = False
    for each in _behind(error, before):
        status = _answered(each)
        if _lost(each) or (status is not None and (status < _ERROR or status in _MAYBE_BILLED)):
            return False
        if not certain and not isinstance(each, Exception):
            return False  # cancelled or interrupted, whatever came before
        certain = certain or status is not None or _never_sent(each)
    return certain


def reached(error: BaseException, *, before: int | None = None) -> bool:
    """Return whether an HTTP client, or one of WebSockets, had a part in an error, or an answer.

    Args:
        error: what was raised.
        before: see `unbilled`.
    """
    return any(
        _home(type(each)) in {*_CLIENTS, "websockets"} or _answered(each) is not None
        for each in _behind(error, before)
    )


def _behind(error: BaseException | None, before: int | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []  # some clients make an error its own cause
    while error is not None and error not in seen and id(error) != before:
        seen.append(error)
        yield error
        context = None if before is None else error.__context__
        error = error.__cause__ or _wrapped(error) or context


def _wrapped(error: BaseException) -> BaseException | None:
    if _home(type(error)) not in _CLIENTS:
        return None
    about = (*error.args, getattr(error, "reason", None))
    return next((one for one in about if isinstance(one, BaseException)), None)


def _never_sent(error: BaseException) -> bool:
    closed = isinstance(error, RuntimeError) and _CLOSED in str(error)
    return closed or _is(error, _NEVER_SENT)


def _lost(error: BaseException) -> bool:
    """Return whether an answer may have been made, or was and could not be read."""
    known = isinstance(error, JSONDecodeError) or _is(error, _LOST)
    return known and not _is(error, _NEVER_SENT)


def _is(error: BaseException, names: frozenset[str]) -> bool:
    return any(kind.__name__ in names and _home(kind) in _CLIENTS for kind in type(error).__mro__)


def _answered(error: BaseException) -> int | None:
    """Return the status of the HTTP answer that an error is about, if a client has received one."""
    answer = getattr(error, "response", None)
    if answer is not None:
        received = _home(type(error)) in _CLIENTS or _received(answer)
        return _status_of(answer) if received else None
    # of aiohttp and urllib, whose errors bring no answer beside them
    return (getattr(error, "status", None) or None) if _home(type(error)) in _CLIENTS else None


def _received(answer: Any) -> bool:
    """Return whether an HTTP client has received an answer: some libraries make them up."""
    if _home(type(answer)) in {"aiohttp", "websockets"}:
        return True
    try:
        return bool(answer.elapsed)  # set by httpx and requests, when they have it
    except (AttributeError, RuntimeError):
        return False


def _status_of(answer: Any) -> int | None:
    status = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    return status if isinstance(status, int) else None


def _home(kind: type) -> str:
    return kind.__module__.partition(".")[0]
