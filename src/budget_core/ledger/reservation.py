"""One call's hold, in every ledger that has a say in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from budget_core.errors import AgentBudgetError
from budget_core.ledger.contract import Ledger
from budget_core.ledger.ids import new_id
from budget_core.ledger.records import Denial, Entry, Headroom
from budget_core.money.amounts import ZERO, Amounts

T = TypeVar("T")


class Group(NamedTuple):
    """The accounts of one ledger."""

    ledger: Ledger
    accounts: tuple[str, ...]


class Refusal(NamedTuple):
    """A denial, and the ledger it came from."""

    ledger: Ledger
    denial: Denial


class Reservation:
    """A hold under one id in one or several ledgers, in all of them or in none.

    Budgets that meet in one request usually share a ledger, where a hold over all of them is one
    atomic step. Where they do not (a budget in memory inside one on a server), each ledger holds
    its part, and a refusal by one gives back what the others held.
    """

    __slots__ = ("amounts", "blocks", "final", "groups", "id")

    def __init__(self, groups: Iterable[Group], final: tuple[Ledger, str] | None = None) -> None:
        self.id = new_id()
        self.groups = tuple(groups)
        self.final = final
        self.amounts = ZERO
        self.blocks = False
        for ledger, _ in self.groups:
            self.blocks = self.blocks or ledger.blocks

    def reserve(self, amounts: Amounts) -> Refusal | None:
        """Hold `amounts`, or return who refused."""
        if len(self.groups) == 1 and self.final is None:
            ledger, accounts = self.groups[0]
            try:
                answer = ledger.reserve(self.id, accounts, amounts)
            except BaseException:
                self.id = new_id()
                raise
            if isinstance(answer, Denial):
                self.id = new_id()
                return Refusal(ledger, answer)
            self.amounts = amounts
            return None
        done: list[Ledger] = []
        try:
            for ledger, accounts in self.groups:
                done.append(ledger)  # an interrupt may come once it is held
                answer = ledger.reserve(self.id, accounts, amounts, final=self._final_in(ledger))
                if isinstance(answer, Denial):
                    done.pop()
                    self._take_back(done)
                    return Refusal(ledger, answer)
        except BaseException as error:
            if isinstance(error, Exception):
                done.pop()  # what it may hold is its own affair
            self._take_back(done)
            raise
        self.amounts = amounts
        return None

    def extend(self, amounts: Amounts, joining: Iterable[Group] = ()) -> Refusal | None:
        """Hold `amounts` in all, also in the accounts of `joining`; or return who refused."""
        before, had = self.amounts, self.groups
        groups = {group.ledger: group.accounts for group in had}
        for ledger, accounts in joining:
            groups[ledger] = tuple(dict.fromkeys((*groups.get(ledger, ()), *accounts)))
        known = {group.ledger for group in had}
        done: list[Ledger] = []

        def undo() -> None:
            for other in done:
                if other in known:
                    other.extend(self.id, before)
                else:
                    other.release(self.id)

        try:
            # those that join come first: what they hold can be given back without a trace
            for ledger in sorted(groups, key=known.__contains__):
                if ledger in known:
                    answer = ledger.extend(self.id, amounts, groups[ledger])
                else:
                    answer = ledger.reserve(self.id, groups[ledger], amounts)
                if isinstance(answer, Denial):
                    undo()
                    return Refusal(ledger, answer)
                done.append(ledger)
        except BaseException:
            undo()
            raise
        self.groups = tuple(Group(ledger, accounts) for ledger, accounts in groups.items())
        self.blocks = any(group.ledger.blocks for group in self.groups)
        self.amounts = amounts
        return None

    def commit(self, amounts: Amounts) -> list[Entry]:
        if len(self.groups) == 1:
            ledger, names = self.groups[0]
            return [ledger.commit(self.id, amounts, names)]
        return _every(
            [partial(ledger.commit, self.id, amounts, names) for ledger, names in self.groups]
        )

    def charge(self, amounts: Amounts) -> list[Entry]:
        if len(self.groups) == 1 and self.final is None:
            ledger, names = self.groups[0]
            return [ledger.charge(self.id, names, amounts)]
        return _every(
            [
                partial(ledger.charge, self.id, names, amounts, final=self._final_in(ledger))
                for ledger, names in self.groups
            ]
        )

    def release(self) -> None:
        _every([partial(ledger.release, self.id) for ledger, _ in self.groups])

    def headroom(self) -> Headroom:
        """Return how much of each unit this could get now, its own hold not counted."""
        if len(self.groups) == 1 and self.final is None:
            ledger, accounts = self.groups[0]
            return ledger.headroom(accounts)
        rooms = [
            ledger.headroom(accounts, final=self._final_in(ledger))
            for ledger, accounts in self.groups
        ]
        return Headroom(*(_least(column) for column in zip(*rooms, strict=True)))

    def headroom_with(self, joining: Iterable[Group]) -> Headroom:
        """Return how much this could hold in all, its own hold given back, with `joining` too."""
        rooms = [
            Headroom(
                *(_sum(free, own) for free, own in zip(self.headroom(), self.amounts, strict=True))
            )
        ]
        if joining := tuple(joining):
            rooms.append(Reservation(joining).headroom())
        return Headroom(*(_least(column) for column in zip(*rooms, strict=True)))

    def _take_back(self, held_in: list[Ledger]) -> None:
        _every([partial(ledger.release, self.id) for ledger in held_in])
        self.id = new_id()  # a release may still be on its way

    def _final_in(self, ledger: Ledger) -> str | None:
        return self.final[1] if self.final is not None and self.final[0] is ledger else None


def _every(steps: Sequence[Callable[[], T]]) -> list[T]:
    """Do every step, also if one fails: no ledger misses what the others were told."""
    if len(steps) == 1:
        return [steps[0]()]
    answers, failed = [], None
    for step in steps:
        try:
            answers.append(step())
        except AgentBudgetError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return answers


def _sum(free: int | None, own: int) -> int | None:
    return None if free is None else free + own


def _least(column: tuple[int | None, ...]) -> int | None:
    known = [value for value in column if value is not None]
    return min(known) if known else None
