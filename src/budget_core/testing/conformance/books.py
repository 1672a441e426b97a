"""Two counts that must agree: the provider's bill, and what a session says it spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.calls import context
from budget_core.errors import BudgetExhausted

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession
    from budget_core.testing.provider import Provider


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def balanced(
    provider: Provider, session: BudgetSession, *, tools: int = 0, exact: bool = True
) -> None:
    """Hold a session against the provider's bill when everything has ended.

    Args:
        provider: that billed everything that the session paid for.
        session: still open, so that nothing was swept up.
        tools: nanos that the session paid besides.
        exact: the provider told what it billed; else the session may have charged more.

    Raises:
        AssertionError: money is held, was charged twice, or not at all; or the limit was exceeded.
    """
    provider.wait_idle()
    held = session.balance().reserved
    expect(
        not any(held),
        f"Something is still held after the run: {held}. A call that was opened has to be ended "
        "however the run ends: by settle or finish, and by release or abort if nothing was billed.",
    )
    bill, spent = provider.bill_nanos + tools, session.spent_nanos
    expect(
        bill <= spent,
        f"The provider billed {bill} nanos, and the session spent {spent}: a call went out that "
        "nobody held, or was released although it was billed.",
    )
    expect(
        bill == spent or not exact,
        f"The provider billed {bill} nanos, and the session spent {spent}: a call was charged "
        "twice, or not by the usage that the provider told.",
    )
    limit = session.limits.lifelong("usd")
    expect(
        limit is None or bill <= limit, f"The bill of {bill} nanos exceeds the limit of {limit}."
    )
    problems = session.ledger.verify()
    expect(not problems, f"The ledger's records and balances disagree: {problems}")


def nothing_is_open() -> None:
    """Check that what is asked of a model from here on is no part of a call that was made before.

    An SDK's guard settles the calls that it adopts, so nothing is held for those.
    """
    left = context.open_calls()
    expect(
        not left,
        f"Calls are open where the agent ran, after it ended: {left}. Whoever opened a call says "
        "that it is over (finish or abort), also if a guard has settled it.",
    )


def counted(provider: Provider, session: BudgetSession, calls: int) -> None:
    expect(
        provider.requests == calls,
        f"The budget buys {calls} calls of the model, and {provider.requests} were sent.",
    )
    reported = session.report()["breakdown"]["llm"]["calls"]
    expect(reported == calls, f"{calls} calls were sent, and the report counts {reported}.")


def refused(*outcomes: object) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BudgetExhausted):
            continue
        cause = outcome if isinstance(outcome, BaseException) else None
        raise AssertionError(
            f"A run without money ends with BudgetExhausted; this one with {outcome!r}."
        ) from cause
