"""Who pays for an SDK call: a framework's call, a session of this context, the client's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from budget_core.calls import context
from budget_core.calls.call import Call
from budget_core.errors import AmbiguousBudget, BudgetExhausted
from budget_core.session.session import BudgetSession

ATTRIBUTE: Final = "_budget_binding"
"""Where a client carries its `Binding`."""


class Binding(NamedTuple):
    """A client's own budget.

    Attributes:
        sessions: pay for every call of the client, the last one in whose name it is held.
        on_exhausted: called with the error of a call that does not fit; the call then returns None.
    """

    sessions: tuple[BudgetSession, ...]
    on_exhausted: Callable[[BudgetExhausted], object] | None = None

    @property
    def session(self) -> Any:
        return self.sessions[-1]


class Claim(NamedTuple):
    """Who pays for a request made here: a call that a framework opened, or a session.

    Attributes:
        session: in whose name the request is held.
        joining: further sessions whose money it is as well.
        pending: the framework's call, to be adopted.
        beside: the call that this request is made inside of, and which it does not adopt.
    """

    session: BudgetSession
    joining: tuple[BudgetSession, ...] = ()
    pending: Call | None = None
    beside: Call | None = None


def binding_of(client: Any) -> Binding | None:
    return getattr(client, ATTRIBUTE, None)


def claim(client: Any) -> Claim | None:
    """Return who pays for a request that `client` makes in this context; None if no session does.

    Raises:
        AmbiguousBudget: several unrelated budgets of `init` are open, and this context has none.
    """
    here = context.here()
    claiming = context.guarded() if here.claiming else ()
    binding: Binding | None = getattr(client, ATTRIBUTE, None)
    if binding is not None:
        claiming = (*claiming, *binding.sessions)
    if here.calls and (claimed := _inside(claiming)) is not None:
        return claimed
    if claiming:
        return tuple.__new__(Claim, (claiming[-1], claiming[:-1], None, None))
    return Claim(payer) if (payer := unclaimed()) is not None else None


def payers(client: Any) -> tuple[BudgetSession, ...]:
    """Return the sessions whose money a request of `client` would be; takes no call over.

    Raises:
        AmbiguousBudget: as `claim`.
    """
    binding = binding_of(client)
    mine = () if binding is None else binding.sessions
    inside = (
        session
        for call in cast("tuple[Call, ...]", context.open_calls())
        for session in call.sessions
    )
    claiming = (*inside, *context.guarded(), *mine)
    if claiming or (payer := unclaimed()) is None:
        return claiming
    return (payer,)


def unclaimed() -> BudgetSession | None:
    """Return who pays for a call made where no session claims any; None if none offers to.

    The innermost of the sessions that `init` opened, if they all lie within each other; else the
    innermost of those that are for the whole process.

    Raises:
        AmbiguousBudget: several are open that know nothing of each other.
    """
    if not (offered := context.offered()):
        return None
    for sessions in filter(None, (offered, context.offered(everywhere=True))):
        innermost: BudgetSession = max(sessions, key=lambda session: len(session.lineage))
        if all(session in innermost.lineage for session in sessions):
            return innermost
    raise AmbiguousBudget([session.id for session in offered])


def _inside(claiming: tuple[BudgetSession, ...]) -> Claim | None:
    """Return who pays for a request made inside of a call that somebody opened."""
    if enclosing := cast("tuple[Call, ...]", context.enclosing_calls()):
        for call in enclosing:
            if call.claim():
                return Claim(call.session, claiming, pending=call)
        return _beside(enclosing[-1], claiming)
    if calls := cast("tuple[Call, ...]", context.open_calls()):
        return _beside(calls[-1], claiming)
    return None


def _beside(call: Call, claiming: tuple[BudgetSession, ...]) -> Claim:
    """Let everybody who holds `call` pay for a further request inside it, too."""
    return Claim(call.session, (*call.sessions, *claiming), beside=call)
