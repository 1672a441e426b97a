"""From a ledger's denial to the error that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.errors import AnswerTruncated, BudgetExhausted, SessionCancelled, SessionFinalized
from budget_core.money.amounts import format_amount, readable
from budget_core.money.usd import format_usd
from budget_core.runtime.printing import printable

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall
    from budget_core.calls.request import CallRequest
    from budget_core.ledger.records import Denial

_NEXT = (
    "Raise the limit (session.top_up(...), or TopUp(...) from on_hard_limit), or finish from the "
    "reserve (finalization_reserve=, session.finalize())."
)


_ENDED = {
    "cancelled": "was cancelled. Open a new session to go on.",
    "finalized": "has spent its finalization reserve, or is spending it, on its last call. Top it "
    "up or open a new session to go on.",
    "closed": "is closed. Open it again to go on.",
}


def exhausted_by(
    denial: Denial, session_id: str, request: CallRequest, *, paid: bool = False
) -> BudgetExhausted:
    """Return the error for a denial.

    Args:
        denial: what the ledger said.
        session_id: the session in which the call was made.
        request: the call.
        paid: the money is gone already, and the limit was met when it was recorded.
    """
    kinds = {"finalized": SessionFinalized, "cancelled": SessionCancelled}
    kind = kinds.get(denial.state, BudgetExhausted)
    return kind(
        _message(denial, session_id, request, paid=paid),
        limit=readable(denial.unit, denial.limit),
        spent=readable(denial.unit, denial.spent),
        requested=readable(denial.unit, denial.requested),
        remaining=readable(denial.unit, denial.remaining),
        unit=denial.unit,
        account=denial.account,
        session_id=session_id,
        retry_after=denial.retry_after,
    )


def stopped_by(
    call: PaidCall, session_id: str, *, limit: float | None, spent: float, remaining: float | None
) -> BudgetExhausted:
    """Return the error that stops a stream in the middle.

    Args:
        call: whose answer it is.
        session_id: the session in which the call was made.
        limit: dollars; None if they are not limited.
        spent: likewise.
        remaining: likewise.
    """
    held, model = format_usd(call.reservation.amounts.usd), printable(call.request.model)
    if call.ended:
        why = (
            f"Session {session_id!r} was closed while the answer of {model} was still "
            f"coming: it was stopped, and the {held} that were held for it are charged. Close the "
            "session after its streams."
        )
    else:
        why = (
            f"The answer of {model} outgrew the {held} that session {session_id!r} "
            f"could hold for it, and was stopped. {_NEXT}"
        )
    return BudgetExhausted(
        why,
        limit=limit,
        spent=spent,
        requested=readable("usd", call.metered.usd),
        remaining=remaining,
        account=session_id,
        session_id=session_id,
    )


def truncated_by(
    call: PaidCall, session_id: str, *, limit: float | None, spent: float, remaining: float | None
) -> AnswerTruncated:
    """Return the error in place of an answer that was cut (see `stopped_by`)."""
    return AnswerTruncated(
        f"The answer of {printable(call.request.model)} was cut at {call.cap:,} tokens, all that "
        f"session {session_id!r} could hold for it. It is charged, and carried by this error as "
        f"`result`. {_NEXT}",
        cap=call.cap or 0,
        limit=limit,
        spent=spent,
        remaining=remaining,
        account=session_id,
        session_id=session_id,
    )


def _message(denial: Denial, session_id: str, request: CallRequest, *, paid: bool) -> str:
    what = printable(request.name or request.model or "the call")
    where = f"account {denial.account!r}"
    if denial.account != session_id and not denial.account.endswith(f"/{session_id}"):
        where += f" (above session {session_id!r})"
    if paid and denial.spent <= denial.limit:
        return f"{what} is recorded, although {where} is {denial.state}: open a new session."
    if not paid and denial.state in _ENDED:
        return f"{what} was refused: {where} {_ENDED[denial.state]}"
    if denial.period is not None:
        return _windowed(what, where, denial, paid=paid)
    limit, spent, asked, left = (
        format_amount(denial.unit, amount)
        for amount in (denial.limit, denial.spent, denial.requested, denial.remaining)
    )
    if paid:
        return f"{what} brought {where} to {spent} of {limit}; it is recorded. {_NEXT}"
    return (
        f"{what} was refused before it was sent: it may come to {asked}, and {where} has {left} "
        f"left of {limit} ({spent} spent, the rest held by calls in flight). {_NEXT}"
    )


def _windowed(what: str, where: str, denial: Denial, *, paid: bool) -> str:
    limit, spent, asked, left = (
        format_amount(denial.unit, amount)
        for amount in (denial.limit, denial.spent, denial.requested, denial.remaining)
    )
    limit = f"{limit}/{denial.period}"
    if paid:
        return f"{what} brought {where} to {spent} of {limit}; it is recorded."
    if denial.retry_after is None:
        after = "It fits into no such window: lower its worst case, or raise the limit."
    else:
        after = f"Try again in {denial.retry_after:,.1f} s, or raise the limit."
    return (
        f"{what} was refused before it was sent: it may come to {asked}, and {where} has {left} "
        f"left of {limit} ({spent} spent). {after}"
    )
