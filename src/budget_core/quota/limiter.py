"""Keeping requests to an API within its limits: all of them in one step, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic, time
from typing import NamedTuple

from budget_core.errors import QuotaExceeded
from budget_core.ledger import Balance, Denial, Ledger
from budget_core.ledger.ids import new_id
from budget_core.ledger.shared import SharedAccount
from budget_core.money.amounts import Amounts, format_amount
from budget_core.money.limits import Limit, Limits
from budget_core.quota.api import REQUESTS, Api
from budget_core.quota.rate_limits import RateLimits
from budget_core.runtime.background import drain, told
from budget_core.runtime.waiting import Pause, Shortage, Steps


class Permit(NamedTuple):
    """That a request may be sent.

    Attributes:
        hold: in the ledger, if its API has limits.
        tokens: what is held for it.
        waited: seconds.
    """

    hold: str | None
    tokens: int
    waited: float = 0.0


class Limiter:
    """Keeps the requests to one API within its limits.

    These are an account of a ledger. Its operations take several limits at once, hold the
    tokens that a request may come to, and correct them by those that it did; processes and
    machines that name the same ledger share them.

    Args:
        api: with its limits.
        ledger: where the account is.
        rate_limits: what the API itself says is left; None to disregard that.
        observe: count what is used, and let everything through.

    Raises:
        LedgerUnavailable: the ledger does not answer.
    """

    def __init__(
        self, api: Api, ledger: Ledger, rate_limits: RateLimits | None, *, observe: bool = False
    ) -> None:
        self.api = api
        self.ledger = ledger
        self._rate_limits = rate_limits
        self._observe = observe
        self._account: SharedAccount | None = None
        if api.limits:
            self._account = SharedAccount(ledger, api.account, Limits(api.every))

    @property
    def blocks(self) -> bool:
        return bool(self.api.limits) and self.ledger.blocks

    def steps(self, tokens: int, wait: float) -> Steps[Permit]:
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
            if isinstance(answer, Permit):
                return answer._replace(waited=waited)
            waited = monotonic() - began
            error = self._exceeded(answer)
            if error.retry_after is None or error.retry_after > wait - waited:
                raise error
            yield self._pause(answer, wait - waited, error.retry_after)

    def settle(self, permit: Permit, tokens: int | None) -> None:
        """End a request that was sent; without `tokens` it came to what was held for it."""
        if not self.api.limits:
            return
        came_to = permit.tokens if tokens is None else tokens
        amounts, accounts = Amounts(tokens=came_to, llm_calls=1), (self.api.account,)
        if permit.hold is None:
            self._tell(partial(self.ledger.charge, new_id(), accounts, amounts))
        else:
            self._tell(partial(self.ledger.commit, permit.hold, amounts, accounts))

    def release(self, permit: Permit) -> None:
        if permit.hold is not None:
            self._tell(partial(self.ledger.release, permit.hold))

    def landed(self) -> None:
        if self._rate_limits is not None:
            self._rate_limits.landed()

    def learn(self, headers: Mapping[str, str], *, refused: bool) -> None:
        if self._rate_limits is not None:
            self._rate_limits.learn(headers, time(), refused=refused)

    def balance(self) -> Balance | None:
        drain()
        return None if self._account is None else self._account.balance()

    def _tell(self, action: Callable[[], object]) -> None:
        told(action, blocks=self.blocks)

    def _try(self, tokens: int) -> Permit | Denial | float:
        """Return a permit; else what the ledger, or in how many seconds the API allows it."""
        if self._rate_limits is not None and (seconds := self._rate_limits.take(time())):
            return seconds
        if self._observe or not self.api.limits:
            return Permit(None, tokens)
        try:
            hold = new_id()
            amounts = Amounts(tokens=tokens, llm_calls=1)
            answer = self.ledger.reserve(hold, (self.api.account,), amounts)
        except BaseException:
            self.landed()
            raise
        if isinstance(answer, Denial):
            self.landed()
            return answer
        return Permit(hold, tokens)

    def _pause(self, why: Denial | float, seconds: float, after: float) -> Pause:
        if not isinstance(why, Denial):
            return Pause(self.ledger, Shortage(self.api.account, "api"), seconds, after)
        shortage = Shortage(why.account, why.unit, why.period)
        return Pause(self.ledger, shortage, seconds, after, why.requested, why.remaining)

    def _exceeded(self, why: Denial | float) -> QuotaExceeded:
        if not isinstance(why, Denial):
            return QuotaExceeded(self.api.name, "the API says that nothing is left", why)
        limit = next(limit for limit in self.api.every if _is(limit, why))
        used = format_amount(why.unit, why.spent + why.reserved, REQUESTS)
        what = f"of {limit.written(REQUESTS)}, {used} are used"
        return QuotaExceeded(self.api.name, what, why.retry_after)


def _is(limit: Limit, denial: Denial) -> bool:
    return limit.unit == denial.unit and limit.window == denial.period
