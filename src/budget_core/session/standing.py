"""A session's account in its ledger: opened, read, topped up, closed, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import Final

from budget_core.calls.context import finalizing
from budget_core.calls.payer import own_groups
from budget_core.calls.refusals import exhausted_by
from budget_core.calls.request import CallRequest
from budget_core.errors import AgentBudgetError, InvalidBudget, LedgerUnavailable
from budget_core.ledger import Account, Balance, Denial, Headroom, Lasts, Ledger
from budget_core.ledger.reservation import Group, Reservation
from budget_core.money.amounts import UNITS, ZERO, Amounts
from budget_core.money.limits import UNLIMITED, Limit, Limits
from budget_core.money.usd import Money, to_usd
from budget_core.runtime.background import drain, in_event_loop
from budget_core.runtime.finalizers import reap, when_dropped
from budget_core.session.open_accounts import openers_of
from budget_core.session.policy import Policy, reserve_for

_NOTHING: Final = Headroom(0, 0, 0, 0)
"""What is left to an account that has ended, or under one that has."""


class Standing:
    """How a session stands with its ledger. It alone asks the ledger for the account.

    In an event loop, an account in a ledger that blocks is opened at its first use: by ``async
    with``, or by the first call, in a thread.

    Args:
        name: the session's id.
        ledger: where the account is.
        limits: as they are asked for; what the parents have left cuts them.
        policy: the session's.
        parent: of the session whose money it is, or None.
        under: the account in the ledger whose money it is, where there is no parent.
        made_up: its name is random, so it cannot be opened again.
        allocate: set the whole limit aside in the parent now.
        cut: lower the account's own limit to what its parents have left, and the reserve with it.
        update: let the limits replace those that the account has.

    Attributes:
        account: its id, behind its parents' where ledgers outlive the process.
        limits: as they stand, top-ups included.
        named: the account can be opened again by its name, where the ledger outlives the process.
        group: the account, by its ledger.
        groups: the accounts through which its money runs, by ledger.
        blocks: one of these ledgers may block on I/O.
        spent_before: what had been spent of it when it was opened.
        started: it was opened.

    Raises:
        BudgetExhausted: there is not enough to set aside, or what pays has ended.
        InvalidBudget: there is no account `under`.
        AccountConflict, LedgerUnavailable: as they say.
    """

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        limits: Limits,
        policy: Policy,
        parent: Standing | None = None,
        under: str | None = None,
        made_up: bool = False,
        allocate: bool = False,
        cut: bool = False,
        update: bool = False,
    ) -> None:
        inside = parent is not None and parent.ledger is ledger
        self._id = name
        self._policy = policy
        self._above: tuple[Standing, ...] = () if parent is None else parent.lineage
        self.ledger: Ledger = ledger
        self.account: str = (
            f"{parent.account}/{name}" if parent and inside and ledger.outlives else name
        )
        self.limits: Limits = limits
        self.named: bool = not made_up and (parent is None or not inside or parent.named)
        self.group = Group(ledger, (self.account,))
        self.groups: tuple[Group, ...] = (
            own_groups(self.group)
            if parent is None
            else own_groups(self.group, parent.group, parent.groups)
        )
        self.blocks = any(group.ledger.blocks for group in self.groups)
        self._parent = parent.account if parent is not None and inside else under
        self._allocate = allocate
        self._cut = cut or allocate
        self._update = update
        self._terms: Account | None = None
        self.started = False
        self._openers = openers_of(ledger, self.account)
        self.spent_before = ZERO
        if not (ledger.blocks and in_event_loop()):
            self.start()
        if made_up:
            when_dropped(self, partial(ledger.forget, self.account))

    def start(self) -> None:
        if self.started:
            return
        with self._openers.lock:
            if self._terms is not None:
                return
            limits = self.limits
            if self._above:
                self._refuse_under_what_ended()
                self.limits = limits.lowered(self._above[0].unspent(limits))
            asked = self._enforced(self.limits if self._cut else limits)
            lasts: Lasts = "name" if self.named else "run"
            reserve = reserve_for(self._policy.finalization_reserve, asked)
            self._terms = Account(self.account, self._parent, asked, reserve, self._allocate, lasts)
            try:
                self.spent_before = self.open(update=self._update)
                self.started = True
            except BaseException:
                self.limits, self._terms = limits, None
                raise

    @property
    def lineage(self) -> tuple[Standing, ...]:
        return (self, *self._above)

    # -- asking ------------------------------------------------------------------------------

    def balance(self) -> Balance:
        self.start()
        reap()
        drain()
        balance = self.ledger.balance(self.account)
        if self.ledger.outlives and not self._above and self._policy.mode == "enforce":
            self.limits = balance.limits  # another process may have topped it up
        return balance

    def remaining(self, balance: Balance) -> int | None:
        """Return the nanos neither spent nor held in a balance; None if they are not limited."""
        limit = self.limits.lifelong("usd")
        return None if limit is None else max(0, limit - balance.spent.usd - balance.reserved.usd)

    def met(self, balance: Balance) -> bool:
        """Return whether a limit for the account's life is spent, but for the reserve."""
        return any(
            balance.spent[at] >= limit.amount - balance.kept_back[at]
            for limit in self.limits.every
            if not limit.period
            for at in [UNITS.index(limit.unit)]
        )

    def would_exceed(self, cost: int) -> bool:
        """Return whether `cost` nanos more would be refused now. Records nothing."""
        self.start()
        drain()
        room = Reservation(self.groups, self.final()).headroom()
        if room == _NOTHING or (room.usd is not None and cost > room.usd):
            return True
        return room.usd == 0 and any(each._overdrawn() for each in self.lineage)  # noqa: SLF001

    def unspent(self, limits: Limits) -> int:
        """Return the most nanos that this account and its parents leave a child with `limits`."""
        self.start()
        most = limits.lifelong("usd") or 0
        for each in self.lineage:
            usd = each.limits.lifelong("usd")
            if usd is not None:
                balance = each.balance()
                most = min(most, max(0, usd - balance.spent.usd - balance.kept_back.usd))
        return most

    def allocatable(self, max_spend: Money | Limit) -> float:
        """Return `max_spend` in dollars, cut to what can be set aside at this moment."""
        self.start()
        usd, room = Limit.parse(max_spend).amount, Reservation(self.groups).headroom().usd
        return to_usd(usd if room is None else min(usd, room))

    def final(self) -> tuple[Ledger, str] | None:
        """Return the account whose reserve a call made here may use, if one is finalizing."""
        if not (sessions := finalizing()):
            return None
        spending = [session.standing for session in sessions]
        return next(((s.ledger, s.account) for s in self.lineage if s in spending), None)

    def owns(self, error: AgentBudgetError) -> bool:
        return getattr(error, "account", None) == self.account

    # -- changing ----------------------------------------------------------------------------

    def open(self, *, update: bool = False) -> Amounts:
        """Open the account again, or find it open; return what was spent of it before."""
        if self._terms is None:
            self.start()
            return self.spent_before
        with self._openers.lock:
            answer = self._opened(update=update)
            if isinstance(answer, Balance):
                self._openers.open.add(self)
        if isinstance(answer, Denial):
            request = CallRequest(kind="tool", name=f"session {self._id}", cost=answer.requested)
            raise exhausted_by(answer, self._id, request)
        if self._policy.on_unavailable == "open":
            self.ledger.go_on_without(self.account)
        return answer.spent

    def top_up(self, more: Amounts) -> None:
        """Raise the limits; a reserve that is a share of them grows with them."""
        self.start()
        enforced = self._policy.mode == "enforce"
        if enforced:
            self.ledger.top_up(self.account, more)
        with self._openers.lock:
            self.limits = self.limits.raised(more)
        if enforced and self._policy.finalization_reserve != "auto":
            reserve = reserve_for(self._policy.finalization_reserve, self.limits)
            self.keep_back(reserve)

    def keep_back(self, amounts: Amounts) -> None:
        self.start()
        self.ledger.keep_back(self.account, amounts)

    def cancel(self) -> None:
        self.start()
        self.ledger.close(self.account, "cancelled")

    def conclude(self) -> None:
        """Refuse every later call, as the last one was made."""
        self.start()
        self.ledger.close(self.account, "finalized")

    def close(self) -> None:
        """Close the account, unless another session of this name has it open."""
        with self._openers.lock:
            if self._terms is None:
                return
            self._openers.open.discard(self)
            if self._openers.open:
                return
            try:
                still_open = self.ledger.balance(self.account).state == "open"
            except LedgerUnavailable:
                still_open = True
            if still_open:
                self.ledger.close(self.account)

    # -- inside ------------------------------------------------------------------------------

    def _refuse_under_what_ended(self) -> None:
        self._above[0].start()
        above = Reservation(self._above[0].groups)
        if above.headroom() != _NOTHING:
            return
        if (refusal := above.reserve(ZERO)) is None:
            above.release()
        elif refusal.denial.state != "open":
            request = CallRequest(kind="tool", name=f"session {self._id}")
            raise exhausted_by(refusal.denial, self._id, request)

    def _overdrawn(self) -> bool:
        usd = self.limits.lifelong("usd")
        return usd is not None and self.balance().spent.usd > usd

    def _enforced(self, limits: Limits) -> Limits:
        return limits if self._policy.mode == "enforce" else UNLIMITED

    def _opened(self, *, update: bool) -> Balance | Denial:
        assert self._terms is not None  # noqa: S101  `start` says them
        try:
            return self.ledger.open(self._terms, update=update)
        except KeyError:
            raise InvalidBudget(
                f"Session {self._id!r} is to spend the money of account {self._parent!r}, "
                f"which {self.ledger!r} does not know. Declare it once: budget account set "
                f"{self._parent} '$500/month', or declare(...) in code."
            ) from None
        except LedgerUnavailable as error:
            raise error.seen_by(self._id) from error.__cause__
