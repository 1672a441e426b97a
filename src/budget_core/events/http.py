"""Requests of the standard library that end in time and follow no redirection.

Not by other clients, as those log URLs, in which there may be secrets.
"""

from __future__ import annotations

import ssl
from functools import cache, partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from socket import SocketIO, socket
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from urllib.request import (
    AbstractHTTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    OpenerDirector,
    ProxyHandler,
    Request,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def opener() -> OpenerDirector:
    """Return what opens requests: by the proxies that the environment names, without redirections.

    A redirection is an HTTPError: it would be followed without the body.
    """
    made = OpenerDirector()
    for handler in (ProxyHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor(), _Handler()):
        made.add_handler(handler)
    return made


class _Handler(AbstractHTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request, context=_trust())

    http_request = https_request = AbstractHTTPHandler.do_request_


@cache
def _trust() -> ssl.SSLContext:
    """Return whom this machine trusts, read once: it takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Connection(HTTPConnection):
    def __init__(self, host: str, /, *, timeout: float = 5.0, **options: Any) -> None:
        super().__init__(host, timeout=timeout, **options)
        within: Any = partial(_Response, until=monotonic() + timeout)
        self.response_class = within


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Response(HTTPResponse):
    """A response that is read until a point in time, however little of it comes at once."""

    def __init__(self, sock: socket, *args: Any, until: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = BufferedReader(_Timely(cast("SocketIO", self.fp.detach()), sock, until))


class _Timely(RawIOBase):
    """Reads a socket until then; a socket's own timeout begins anew with every byte."""

    def __init__(self, raw: SocketIO, sock: socket, until: float) -> None:
        self._raw, self._socket, self._until = raw, sock, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
