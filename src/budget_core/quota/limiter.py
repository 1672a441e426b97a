"""Letting requests to an API through, within its limits: all of them in one step, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic, time
from typing import NamedTuple

from budget_core.errors import QuotaExceeded
from budget_core.ledger import Account, Balance, Denial, Ledger
from budget_core.ledger.ids import new_id
from budget_core.money.amounts import Amounts, format_amount
from budget_core.money.limits import Limit, Limits
from budget_core.quota.api import Api, written
from budget_core.quota.headroom import Headroom
from budget_core.runtime.background import behind, drain, in_event_loop
from budget_core.runtime.waiting import Pause, Steps


class Ticket(NamedTuple):
    """A request that was let through.

    Attributes:
        hold: in the ledger, if its API has limits.
        tokens: what is held for it.
        waited: seconds.
    """

    hold: str | None
    tokens: int
    waited: float = 0.0


class Gate:
    """What stands before one API.

    The limits are an account of a ledger. Its operations take several limits at once, hold the
    tokens that a request may come to, and correct them by those that it did; processes and
    machines that name the same ledger share them.

    Args:
        api: with its limits.
        ledger: where the account is.
        headroom: what the API itself says is left; None to disregard that.
        observe: count what is used, and let everything through.

    Raises:
        LedgerUnavailable: the ledger does not answer.
    """

    def __init__(
        self, api: Api, ledger: Ledger, headroom: Headroom | None, *, observe: bool = False
    ) -> None:
        self.api = api
        self.ledger = ledger
        self._headroom = headroom
        self._observe = observe
        if api.limits:
            account = Account(api.account, None, Limits(api.every), lasts="standing")
            ledger.open(account, update=True)

    @property
    def blocks(self) -> bool:
        """Its ledger may block on I/O."""
        return bool(self.api.limits) and self.ledger.blocks

    def steps(self, tokens: int, wait: float) -> Steps[Ticket]:
        """Let a request through, yielding where it has to wait, for `wait` seconds at most.

        Args:
            tokens: that it may come to.
            wait: seconds.

        Raises:
            QuotaExceeded: it does not fit, and will not within `wait`.
            LedgerUnavailable: the ledger does not answer.
        """
        began, waited = monotonic(), 0.0
        while True:
            answer = self._try(tokens)
            if isinstance(answer, Ticket):
                return answer._replace(waited=waited)
            waited = monotonic() - began
            if answer.retry_after is None or answer.retry_after > wait - waited:
                raise answer
            yield Pause((self.ledger,), answer.retry_after)

    def settle(self, ticket: Ticket, tokens: int | None) -> None:
        """End a request that was sent; without `tokens` it came to what was held for it."""
        if not self.api.limits:
            return
        came_to = ticket.tokens if tokens is None else tokens
        amounts, accounts = Amounts(tokens=came_to, llm_calls=1), (self.api.account,)
        if ticket.hold is None:
            self._tell(partial(self.ledger.charge, new_id(), accounts, amounts))
        else:
            self._tell(partial(self.ledger.commit, ticket.hold, amounts, accounts))

    def release(self, ticket: Ticket) -> None:
        """End a request that never left."""
        if ticket.hold is not None:
            self._tell(partial(self.ledger.release, ticket.hold))

    def landed(self) -> None:
        """Say that the API has answered, or will not."""
        if self._headroom is not None:
            self._headroom.landed()

    def learn(self, headers: Mapping[str, str], *, refused: bool) -> None:
        """Take note of what the API says is left."""
        if self._headroom is not None:
            self._headroom.learn(headers, time(), refused=refused)

    def balance(self) -> Balance | None:
        """Return what is used of the limits, None if there are none."""
        drain()
        return self.ledger.balance(self.api.account) if self.api.limits else None

    def _tell(self, action: Callable[[], object]) -> None:
        if self.blocks and in_event_loop():
            behind(action)
        else:
            action()

    def _try(self, tokens: int) -> Ticket | QuotaExceeded:
        if self._headroom is not None and (seconds := self._headroom.take(time())):
            return QuotaExceeded(self.api.name, "the API says that nothing is left", seconds)
        if self._observe or not self.api.limits:
            return Ticket(None, tokens)
        try:
            hold = new_id()
            amounts = Amounts(tokens=tokens, llm_calls=1)
            answer = self.ledger.reserve(hold, (self.api.account,), amounts)
        except BaseException:
            self.landed()
            raise
        if isinstance(answer, Denial):
            self.landed()
            return self._exceeded(answer)
        return Ticket(hold, tokens)

    def _exceeded(self, denial: Denial) -> QuotaExceeded:
        limit = next(written(limit) for limit in self.api.every if _is(limit, denial))
        used = format_amount(denial.unit, denial.spent + denial.reserved)
        return QuotaExceeded(
            self.api.name,
            f"of {limit}, {used.replace('LLM call', 'request')} are used",
            denial.retry_after,
        )


def _is(limit: Limit, denial: Denial) -> bool:
    return limit.unit == denial.unit and limit.window == denial.period
