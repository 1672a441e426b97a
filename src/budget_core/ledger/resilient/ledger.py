"""A ledger that may be out of reach for a while: nothing is lost, and nothing counts twice.

What was spent is owed to it, and told when it is back, whatever the policy. Calls of sessions with
``on_unavailable="open"`` go on meanwhile, within what was last known to be left.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Final, TypeVar, cast
from weakref import WeakSet

from budget_core.errors import AgentBudgetError, HoldConflict, LedgerUnavailable
from budget_core.ledger.audit import Progress
from budget_core.ledger.contract import Ledger, OperationFailed
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    LiveHoldView,
    State,
)
from budget_core.ledger.resilient.journal import Debt, Journal
from budget_core.ledger.resilient.last_known import LastKnown
from budget_core.money.amounts import ZERO, Amounts
from budget_core.runtime.finalizers import reap
from budget_core.runtime.forks import in_child

T = TypeVar("T")
RETRY: Final = 1.0
"""Seconds for which a ledger that did not answer is left alone."""
_log = logging.getLogger("budget_core")


class ResilientLedger(Ledger):
    """A ledger with a memory of what it was not told.

    Args:
        inner: the ledger itself.
        journal: what it is owed.
    """

    ttl: float = 3 * RETRY

    def __init__(self, inner: Ledger, journal: Journal | None = None) -> None:
        self.inner = inner
        self.blocks, self.outlives, self.poll = inner.blocks, inner.outlives, inner.poll
        self._journal = journal if journal is not None else Journal(repr(inner))
        self._last_known = LastKnown()
        self._open: set[str] = set()
        self._holds: dict[str, Hold] = {}
        self._balances: dict[str, Balance] = {}
        self._accounts: dict[str, Account] = {}
        self._forgotten: deque[str] = deque()
        self._paying = Lock()
        self._away_until = self._pay_again = float("-inf")
        self._adopted = False
        _all.add(self)

    def go_on_without(self, account: str) -> None:
        known = self._accounts.get(account)
        if known is not None and (parent := known.parent) and parent not in self._accounts:
            # one that only others open: what is left of it is for all sessions below it here
            self._last_known.know(parent, None, self._ask(lambda: self.inner.headroom((parent,))))
        self._open.add(account)

    @property
    def owed(self) -> int:
        return len(self._journal)

    # -- what must not wait ------------------------------------------------------------------

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        sent = False

        def question() -> Hold | Denial:
            nonlocal sent
            sent = True
            return self.inner.reserve(hold_id, accounts, amounts, final=final)

        answer: Hold | Denial | None
        try:
            answer = self._ask(question)
        except LedgerUnavailable:
            hold = Hold(hold_id, tuple(accounts), amounts)
            answer = self._held_here(hold) if final is None else None
            if sent and not isinstance(answer, Hold):  # it may be held: the answer was lost
                self._owe(Debt("release", hold_id, hold.accounts, ZERO))
            if answer is None:
                raise
        if isinstance(answer, Hold):
            self._hold(answer)
        return answer

    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        hold = self._holds.get(hold_id)
        try:
            answer = self._ask(lambda: self.inner.extend(hold_id, amounts, accounts))
        except (LedgerUnavailable, HoldConflict) as error:
            if hold is None or not self._known_here_only(error, hold):
                raise
            union = tuple(dict.fromkeys((*hold.accounts, *accounts)))
            more = Amounts(*(max(0, x - y) for x, y in zip(amounts, hold.amounts, strict=True)))
            if not self._open.issuperset(union):
                raise
            if denial := self._last_known.refusal(union, more):
                return denial
            answer = Hold(hold_id, union, amounts)
        if isinstance(answer, Hold):
            self._unhold(hold_id)
            self._hold(answer)
        return answer

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        self._unhold(hold_id)
        self._last_known.take(accounts, amounts)
        debt = Debt("commit", hold_id, tuple(accounts), amounts)
        return self._tell(lambda: self.inner.commit(hold_id, amounts, accounts), debt)

    def release(self, hold_id: str) -> Entry | None:
        hold = self._unhold(hold_id)
        names = hold.accounts if hold is not None else ()
        debt = Debt("release", hold_id, names, ZERO)
        return self._tell(lambda: self.inner.release(hold_id), debt)

    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        self._last_known.take(accounts, amounts)
        debt = Debt("charge", charge_id, tuple(accounts), amounts)
        return self._tell(
            lambda: self.inner.charge(charge_id, accounts, amounts, final=final), debt
        )

    # -- what can be answered from memory ----------------------------------------------------

    def open(self, account: Account, *, update: bool = False) -> Balance | Denial:
        if not self._adopted:
            self._adopted = True
            self._journal.adopt()
        answer = self._ask(lambda: self.inner.open(account, update=update))
        if isinstance(answer, Balance):
            room = self._ask(lambda: self.inner.headroom((account.id,)))
            self._last_known.know(account.id, account.parent, room)
            self._balances[account.id] = answer
            self._accounts[account.id] = account
        return answer

    def balance(self, account: str) -> Balance:
        try:
            balance = self._ask(lambda: self.inner.balance(account))
        except LedgerUnavailable:
            if account not in self._open or account not in self._balances:
                raise
            return self._remembered(account)
        if account in self._balances:
            self._balances[account] = balance
        return balance

    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        try:
            room = self._ask(lambda: self.inner.headroom(accounts, final=final))
        except LedgerUnavailable:
            known = self._last_known.left(accounts)
            if known is None or not self._open.issuperset(accounts):
                raise
            return Headroom(*(None if x is None else max(0, x) for x in known))
        if final is None:
            self._last_known.learn(accounts, room)
        return room

    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        try:
            return self._ask(lambda: self.inner.keep_back(account, amounts))
        except LedgerUnavailable:
            if account not in self._open:
                raise
            return ZERO

    def close(self, account: str, state: State = "closed") -> None:
        try:
            self._ask(lambda: self.inner.close(account, state))
        except LedgerUnavailable:
            if state != "closed":
                raise
            self._owe(Debt("close", account, (account,), ZERO))
        else:
            self._let_go(account)

    def forget(self, account: str) -> None:
        # called by finalizers, which may run inside an operation: nothing here may wait
        self._forgotten.append(account)
        if not self._journal:
            self._forget()

    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        with suppress(LedgerUnavailable):
            return self._ask(lambda: self.inner.llm_holds(account, besides))
        return False

    # -- what only the ledger knows ----------------------------------------------------------

    def top_up(self, account: str, amounts: Amounts) -> Balance:
        return self._ask(lambda: self.inner.top_up(account, amounts))

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        return self._ask(lambda: self.inner.entries(account))

    def last_entries(self, many: int, account: str | None = None) -> list[Entry]:
        return self._ask(lambda: self.inner.last_entries(many, account))

    def verify(self, progress: Progress | None = None) -> list[str]:
        return self._ask(lambda: self.inner.verify(progress))

    def accounts(self) -> list[Balance]:
        return self._ask(self.inner.accounts)

    def describe(self, account: str) -> Account:
        return self._ask(lambda: self.inner.describe(account))

    def holds(self, account: str | None = None) -> list[LiveHoldView]:
        return self._ask(lambda: self.inner.holds(account))

    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        return self.inner.watch(callback, account)

    def beat(self) -> None:
        reap()  # what was dropped is told though nothing asks any more
        if self._journal:
            with suppress(LedgerUnavailable):
                self._pay()

    def forked(self) -> None:
        self._paying = Lock()
        self._last_known.forked()

    def __repr__(self) -> str:
        return repr(self.inner)

    # -- inside ------------------------------------------------------------------------------

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the ledger, once it was told what it is owed; not while it is known to be away."""
        if monotonic() < self._away_until:
            raise LedgerUnavailable("it did not answer a moment ago")
        try:
            if self._journal and monotonic() >= self._pay_again:
                self._pay()
            return self._answer(question)
        except OperationFailed:
            raise
        except LedgerUnavailable:
            self._away_until = monotonic() + RETRY
            raise

    def _answer(self, question: Callable[[], T]) -> T:
        """Return what the ledger answers; if it came back without an account, open that again."""
        try:
            return question()
        except KeyError as error:
            lost = error.args[0]
            if lost not in self._accounts:
                raise
        _log.error("%r has lost account %r and what it had spent", self, lost)
        try:
            self._reopen(lost)
        except KeyError as error:
            raise LedgerUnavailable(f"{self!r} has lost account {error.args[0]!r}") from None
        return self._answer(question)

    def _tell(self, statement: Callable[[], T], debt: Debt) -> T:
        try:
            answer = self._ask(statement)
        except LedgerUnavailable:
            self._owe(debt)
            if debt.what == "release":
                return None  # type: ignore[return-value]
            owed = Entry(debt.id, "commit", debt.accounts, (), ZERO, debt.amounts)
            return cast("T", owed)
        if isinstance(answer, Entry):
            self._remember(answer)
        return answer

    def _owe(self, debt: Debt) -> None:
        _log.warning("%r did not answer, and is owed the %s of %s", self, debt.what, debt.id)
        self._journal.add(debt)
        _owing.add(self)
        keep_alive(self)

    def _remember(self, entry: Entry) -> None:
        for account, spent in zip(entry.path, entry.after, strict=False):
            known = self._balances.get(account)
            if (
                known is not None and known.spent.usd <= spent.usd
            ):  # threads may overtake each other
                self._balances[account] = known._replace(spent=spent)

    def _pay(self) -> None:
        with self._paying:
            if monotonic() < self._away_until:  # the thread before us has waited in vain
                raise LedgerUnavailable("it did not answer a moment ago")
            for debt in self._journal:
                try:
                    self._pay_one(debt)
                except OperationFailed as error:
                    _log.warning("%r answers the %s of %s: %s", self, debt.what, debt.id, error)
                    self._pay_again = monotonic() + RETRY
                except LedgerUnavailable:
                    self._away_until = monotonic() + RETRY
                    raise
                except (KeyError, AgentBudgetError) as error:
                    if isinstance(error, KeyError) and self._accounts.keys() >= set(debt.accounts):
                        continue  # an account above them has to be declared again
                    _log.error("%r will not take the %s: %r", self, debt, error)
                    self._journal.shelve(debt)
                else:
                    self._journal.paid(debt)
            self._away_until = float("-inf")
            if not self._journal:
                _owing.discard(self)
                self._forget()

    def _forget(self) -> None:
        """Drop forgotten accounts, once what they spent is told."""
        while self._forgotten:
            account = self._forgotten.popleft()
            self.inner.forget(account)
            self._let_go(account)

    def _let_go(self, account: str) -> None:
        """Keep nothing of an account that has ended, so that memory does not grow with each."""
        self._open.discard(account)
        self._accounts.pop(account, None)
        self._balances.pop(account, None)
        self._last_known.forget(account)

    def _pay_one(self, debt: Debt) -> None:
        try:
            self._pay_what(debt)
        except KeyError:  # it came back with less than it had
            for account in debt.accounts:
                self._reopen(account)
            self._pay_what(debt)

    def _pay_what(self, debt: Debt) -> None:
        match debt.what:
            case "commit":
                self.inner.commit(debt.id, debt.amounts, debt.accounts)
            case "charge":
                self.inner.charge(debt.id, debt.accounts, debt.amounts)
            case "release":
                self.inner.release(debt.id)
            case "close":
                if self.inner.balance(debt.id).state == "open":
                    self.inner.close(debt.id)

    def _reopen(self, key: str) -> None:
        account = self._accounts[key]
        if account.parent is not None and account.parent in self._accounts:
            self._reopen(account.parent)
        self.inner.open(account)

    def _held_here(self, hold: Hold) -> Hold | Denial | None:
        """Hold what was left when the ledger was last heard; None if that must not be."""
        if not self._open.issuperset(hold.accounts) or self._last_known.left(hold.accounts) is None:
            return None
        return self._last_known.refusal(hold.accounts, hold.amounts) or hold

    def _hold(self, hold: Hold) -> None:
        if hold.id not in self._holds:
            self._holds[hold.id] = hold
            self._last_known.take(hold.accounts, hold.amounts)

    def _unhold(self, hold_id: str) -> Hold | None:
        hold = self._holds.pop(hold_id, None)
        if hold is not None:
            self._last_known.take(hold.accounts, [-x for x in hold.amounts])
        return hold

    def _known_here_only(self, error: Exception, hold: Hold) -> bool:
        return isinstance(error, LedgerUnavailable) or self._open.issuperset(hold.accounts)

    def _remembered(self, account: str) -> Balance:
        known = self._balances[account]
        spent = known.spent
        for debt in self._journal:
            if account in (self._last_known.path(debt.accounts) or ()):
                spent = Amounts(*(x + y for x, y in zip(spent, debt.amounts, strict=True)))
        return known._replace(spent=spent)


def resilient(ledger: Ledger) -> Ledger:
    """Return what remembers what `ledger` was not told: one object a ledger."""
    if not ledger.outlives or isinstance(ledger, ResilientLedger):
        return ledger
    with _making:
        made: ResilientLedger | None = getattr(ledger, "_resilient", None)
        if made is None:
            made = ResilientLedger(ledger)
            ledger._resilient = made  # type: ignore[attr-defined]  # noqa: SLF001
        return made


_making = Lock()
_all: WeakSet[ResilientLedger] = WeakSet()
_owing: set[ResilientLedger] = set()
"""Those that are owed something: kept until that is told, though they are no longer used."""


def _forked() -> None:
    _owing.clear()
    for ledger in _all:
        ledger.forked()


in_child(_forked)
