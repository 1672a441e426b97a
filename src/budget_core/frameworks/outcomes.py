"""What a framework can tell of a call's outcome, where no guard on an SDK saw it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from budget_core.calls.responses import Receipt, Usage
from budget_core.money.prices.output_limits import is_reasoning

if TYPE_CHECKING:
    from budget_core.calls.call import Call

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
_UNSEEN_OUTPUT: Final = 64
"""Tokens that an answer may have beyond its visible bytes, if it does not reason."""


def finish(call: Call, receipt: Receipt, shown: Iterable[str]) -> None:
    """Charge a complete answer: as its usage says, else by what can be seen of it.

    Visible output has no more tokens than UTF-8 bytes. What a reasoning model thinks is not
    visible, so of one that does not tell its usage the whole hold is charged.

    Args:
        call: that the framework opened; one that a guard took over is settled already.
        receipt: what the answer says; a usage of nothing at all is none.
        shown: everything that was written: texts, names and arguments of tools.
    """
    if call.claimed:
        call.finish()
        return
    said = receipt.usage is not None and receipt.usage.total > 0
    if not said and call.quote is not None and not is_reasoning(call.request.model):
        written = sum(len(text.encode(errors="replace")) for text in shown)
        output = written + _UNSEEN_OUTPUT * call.quote.n
        if call.wired:
            output = min(output, call.output)
        receipt = receipt._replace(usage=Usage(call.quote.input_tokens, output))
    call.finish(receipt)


@contextmanager
def ending(call: Call) -> Iterator[Call]:
    """End a call however its block ends: as it was finished there, or failed; else as unknown."""
    try:
        yield call
    except BaseException as error:
        failed(call, error)
        raise
    call.finish()


def failed(call: Call, error: BaseException) -> None:
    """End a call that brought an error: free if that proves that nothing was billed."""
    if unbilled(error):
        call.abort()
    else:
        call.finish()


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
