"""Whose money a call is: payers, their parents, and the accounts of all of them, by ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from budget_core.ledger.reservation import Group

if TYPE_CHECKING:
    from budget_core.calls.estimator import Estimator
    from budget_core.calls.quote import Quote
    from budget_core.calls.request import CallRequest
    from budget_core.errors import BudgetExhausted
    from budget_core.ledger import Ledger
    from budget_core.ledger.records import Entry
    from budget_core.ledger.reservation import Refusal, Reservation
    from budget_core.money.amounts import Amounts
    from budget_core.money.usage import Usage


class Admitted(NamedTuple):
    """A call that may be sent: as what, and the tags of what its prompt holds.

    Its opener keeps `pending` until it is held.
    """

    request: CallRequest
    risks: tuple[str, ...] = ()
    pending: object = None


class PaidCall(Protocol):
    """What a payer and a context see of a call."""

    risks: tuple[str, ...]
    number: int

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def request(self) -> CallRequest: ...
    @property
    def reservation(self) -> Reservation: ...
    @property
    def quote(self) -> Quote | None: ...
    @property
    def payer(self) -> Payer: ...
    @property
    def began(self) -> float: ...
    @property
    def cost(self) -> int: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def priced(self) -> bool: ...
    @property
    def source(self) -> str | None: ...
    @property
    def output(self) -> int: ...
    @property
    def ended(self) -> bool: ...
    @property
    def over(self) -> bool: ...
    @property
    def guarded(self) -> bool: ...
    @property
    def metered(self) -> Amounts: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def cap(self) -> int | None: ...
    def settle(self, outcome: None) -> None: ...


class Payer(Protocol):
    """Who pays for a call.

    Attributes:
        id: its name, for messages.
        above: its parents, up to the root.
        lineage: itself and its parents.
        groups: the accounts through which its money runs, by ledger.
        estimator: what its calls may cost, and did.
    """

    @property
    def id(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def above(self) -> tuple[Payer, ...]: ...
    @property
    def lineage(self) -> tuple[Payer, ...]: ...
    @property
    def groups(self) -> tuple[Group, ...]: ...
    @property
    def estimator(self) -> Estimator: ...

    def start(self) -> None:
        """Open its account, if that was left until it is used: asks the ledger, which may block."""

    def final(self) -> tuple[Ledger, str] | None:
        """Return the account whose reserve a call made here may use, if one is finalizing."""

    def top_ups(self) -> int:
        """Count the top-ups of this payer and its parents."""

    def admit(self, request: CallRequest) -> Admitted:
        """Return what may be sent: loops, risks and plugins are asked.

        Raises:
            LoopDetected, RiskDetected, AnomalyDetected: it is not to be sent.
            AgentBudgetError: a plugin refuses it.
        """

    def approved(self, refusal: Refusal, before: int) -> bool:
        """Return whether to try again: there were `before` top-ups, and now there are more."""

    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted:
        """Return the error for a call that was refused, and record it."""

    def likely(self, model: str) -> int:
        """Return the tokens below which an answer of a model is not to be cut."""

    def stopped(self, call: PaidCall) -> BudgetExhausted:
        """Return the error that stops a stream whose hold is spent, and record it."""

    def cut_off(self, call: PaidCall, *, over: bool) -> BudgetExhausted:
        """Return the error in place of an answer that was cut; `over`: it is not asked again."""

    def opened(self, call: PaidCall) -> None:
        """Keep an open call, so that it can be swept."""

    def count(self, call: PaidCall) -> None:
        """Count a call that was settled; all payers do before any is told."""

    def ended(self, call: PaidCall, entries: Sequence[Entry]) -> None:
        """Tell of a call that was settled."""

    def released(self, call: PaidCall) -> None:
        """Drop a call that was released."""


def everyone(payers: Sequence[Payer]) -> tuple[Payer, ...]:
    """Return these payers and all their parents, each once."""
    if len(payers) == 1:
        return payers[0].lineage
    return tuple(dict.fromkeys(one for payer in payers for one in payer.lineage))


def groups_of(payers: Sequence[Payer]) -> tuple[Group, ...]:
    """Return the accounts through which money of all these payers runs, by ledger."""
    if len(payers) == 1:
        return payers[0].groups
    return _grouped(group for payer in payers for group in payer.groups)


def own_groups(
    own: Group, parent: Group | None = None, above: Iterable[Group] = ()
) -> tuple[Group, ...]:
    """Return the accounts through which the money of one account runs.

    Its parents' accounts in its own ledger are on the way to the root anyway; those in another
    ledger have to be named.

    Args:
        own: its ledger and itself.
        parent: the parent's own, if it has one.
        above: the groups of the parent.
    """
    if parent is None:
        return (own,)
    groups = _grouped((own, *above))
    if parent.ledger is not own.ledger:
        return groups
    first, *others = groups
    named = tuple(account for account in first.accounts if account != parent.accounts[0])
    return (Group(own.ledger, named), *others)


def _grouped(groups: Iterable[Group]) -> tuple[Group, ...]:
    merged: dict[Ledger, dict[str, None]] = {}
    for ledger, accounts in groups:
        merged.setdefault(ledger, {}).update(dict.fromkeys(accounts))
    return tuple(Group(ledger, tuple(accounts)) for ledger, accounts in merged.items())
