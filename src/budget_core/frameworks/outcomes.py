"""What a framework can tell of a call's outcome, where no guard on an SDK saw it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from budget_core.calls.outcomes import handled, reached, unbilled
from budget_core.calls.responses import met_cap, read_receipt
from budget_core.errors import AgentBudgetError, BudgetExhausted
from budget_core.frameworks.truncation import whole
from budget_core.money.prices.output_limits import is_reasoning
from budget_core.money.usage import Receipt, Usage
from budget_core.sdk.installing import is_guarded

if TYPE_CHECKING:
    from budget_core.calls.call import Call

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
def ending(call: Call, *, sdk: str | None = None) -> Iterator[Call]:
    """End a call however its block ends: as it was finished there, or failed; else as unknown.

    An answer that the money has cut, and that was not given to `whole` inside, is refused here.

    Args:
        call: that the framework opened.
        sdk: see `failed`.
    """
    before, sdk = handled(), sdk if sdk is not None and is_guarded(sdk) else None
    try:
        yield call
    except BaseException as error:
        failed(call, error, before, sdk=sdk)
        if isinstance(error, Exception) and not isinstance(error, AgentBudgetError):
            unread(call, error)
        raise
    call.finish()
    whole(call, None, text=True)


def unread(call: Call, error: Exception) -> None:
    """Raise in place of an error if it came of an answer that was cut: nobody can read such JSON.

    Raises:
        AnswerTruncated: the money has cut the answer.
    """
    try:
        whole(call, None)
    except BudgetExhausted as cut:
        raise cut from error


@contextmanager
def unsent(call: Call) -> Iterator[None]:
    """Release a call if its block fails: then it is not sent."""
    try:
        yield
    except BaseException:
        call.abort()
        raise


def failed(
    call: Call, error: BaseException, before: int | None = None, *, sdk: str | None = None
) -> None:
    """End a call that brought an error: free if that proves that nothing was billed.

    Args:
        call: that the framework opened.
        error: what it brought.
        before: what `handled` returned when it was opened (see `unbilled`).
        sdk: that alone can have sent it (see `sender_of`): if its guard was never asked, nothing
            was sent.
    """
    guarded = sdk is not None and is_guarded(sdk)
    seen = call.claimed or any(call.metered)  # what has brought a piece of an answer was sent
    unsent = guarded and not seen and not reached(error, before=before)
    if unsent or unbilled(error, before=before):
        call.abort()
    else:
        call.finish(_brought(error))


def _brought(error: BaseException) -> Receipt | None:
    """Return what the answer says that an error brings along: one that an SDK could not parse."""
    if (answer := getattr(error, "completion", None)) is None:
        return None
    return read_receipt(answer)._replace(cut=met_cap(answer))
