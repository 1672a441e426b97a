"""Whether an error proves that nothing was billed."""

from __future__ import annotations

from typing import Any, Final

_ERROR: Final = 400


_MAYBE_BILLED: Final = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting for an answer that may have been made."""


_NEVER_SENT: Final = frozenset(
    {
        "ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL",
        "LocalProtocolError",
        "ClientConnectorError", "ClientConnectorDNSError", "InvalidUrlClientError",
        "NewConnectionError", "NameResolutionError",
    }
)  # fmt: skip
"""Errors of httpx, aiohttp and urllib3 before a request has left."""


def unbilled(error: BaseException | None, response: Any = None) -> bool:
    """Tell whether it is certain that the provider charges nothing for a call that failed.

    Args:
        error: what the SDK or an HTTP client raised, if anything.
        response: what the provider answered, if anything.
    """
    answer = getattr(error, "response", None)
    names = ("status_code", "status", "code")  # of the SDKs, aiohttp, and google-genai
    statuses = ((response, "status_code"), *((error, name) for name in names))
    for source, name in (*statuses, (answer, "status_code")):
        status = getattr(source, name, None)
        if isinstance(status, int) and status >= _ERROR:
            return status not in _MAYBE_BILLED
    seen: list[BaseException] = []  # some clients make an error its own cause
    while error is not None and error not in seen:
        if type(error).__name__ in _NEVER_SENT or "client has been closed" in str(error):
            return True
        seen.append(error)
        error = error.__cause__ or _wrapped(error)
    return False


def _wrapped(error: BaseException) -> BaseException | None:
    """Return what an error of requests, or of urllib3, is about."""
    about = (*error.args, getattr(error, "reason", None))
    return next((one for one in about if isinstance(one, BaseException)), None)
