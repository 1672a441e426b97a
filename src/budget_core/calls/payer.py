"""Whose money a call is: sessions, their parents, and the accounts of all of them, by ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from budget_core.ledger.reservation import Group

if TYPE_CHECKING:
    from budget_core.ledger import Ledger
    from budget_core.session.session import BudgetSession


def everyone(sessions: Sequence[BudgetSession]) -> tuple[BudgetSession, ...]:
    """Return these sessions and all their parents, each once."""
    if len(sessions) == 1:
        return sessions[0].lineage
    return tuple(dict.fromkeys(one for session in sessions for one in session.lineage))


def groups_of(sessions: Sequence[BudgetSession]) -> tuple[Group, ...]:
    """Return the accounts through which money of all these sessions runs, by ledger."""
    if len(sessions) == 1:
        return sessions[0].groups
    return _grouped(group for session in sessions for group in session.groups)


def own_groups(session: BudgetSession) -> tuple[Group, ...]:
    """Return the accounts through which a session's money runs.

    Its parents' accounts in its own ledger are on the way to the root anyway; those in another
    ledger have to be named.
    """
    own, parent = Group(session.ledger, (session.account,)), session.parent
    if parent is None:
        return (own,)
    groups = _grouped((own, *parent.groups))
    if parent.ledger is not session.ledger:
        return groups
    first, *others = groups
    above = tuple(account for account in first.accounts if account != parent.account)
    return (Group(session.ledger, above), *others)


def _grouped(groups: Iterable[Group]) -> tuple[Group, ...]:
    merged: dict[Ledger, dict[str, None]] = {}
    for ledger, accounts in groups:
        merged.setdefault(ledger, {}).update(dict.fromkeys(accounts))
    return tuple(Group(ledger, tuple(accounts)) for ledger, accounts in merged.items())
