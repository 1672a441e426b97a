"""What `agent-budget-guard` documents, enforced by this package.

>>> from budget_compat.agent_budget_guard import BudgetedSession
>>> client = BudgetedSession.openai(budget_usd=5.00)
>>> client.session.get_remaining_budget()
5.0

docs/migrating.md lists what is different.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from budget_core.calls import context
from budget_core.errors import AgentBudgetError, BudgetExhausted, UnknownModel
from budget_core.money.usd import Money, to_usd
from budget_core.sdk.claims import Binding
from budget_core.sdk.clients.wrap import bound
from budget_core.session.budget import AgentBudget
from budget_core.session.policy import Report
from budget_core.session.session import BudgetSession

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall
    from budget_core.calls.request import CallRequest
    from budget_core.ledger.reservation import Refusal

__all__ = ["BudgetError", "BudgetExceededError", "BudgetedSession", "PricingDataError"]

_log = logging.getLogger("budget_core")

BudgetError = AgentBudgetError
PricingDataError = UnknownModel
DEFAULT_WARNING_THRESHOLDS: Final = (30, 80, 95)


class BudgetExceededError(BudgetExhausted):
    """A request would exceed the budget: it was not sent."""

    @property
    def estimated_cost(self) -> float | None:
        """What the call may have come to, in dollars; `BudgetExhausted` calls it `requested`."""
        return self.requested


class Summary(TypedDict):
    """What `BudgetedSession.get_summary` returns, in dollars."""

    budget: float
    spent: float
    reserved: float
    remaining: float
    utilization_percent: float


class BudgetedSession:
    """A budget for any number of clients.

    >>> session = BudgetedSession(budget_usd=5.00)
    >>> client = session.wrap_openai(openai.OpenAI())

    Args:
        budget_usd: dollars that all clients may spend together.
        tier: accepted, and not used to make anything cheaper: a call is charged at the tier that
            its response names, and an ordinary call is no batch.
        on_budget_exceeded: called with the `BudgetExceededError` of a call that does not fit; the
            call then returns None. Without it the error is raised.
        on_warning, warning_thresholds: called once at each percentage, with a dict of threshold,
            spent, remaining and budget.
        **options: everything else that `AgentBudget` takes.

    Attributes:
        account: the `budget_core.BudgetSession` that pays at present, for all that it can do
            beside; `reset` replaces it.
    """

    def __init__(
        self,
        budget_usd: Money,
        *,
        tier: Literal["standard", "batch"] = "standard",
        on_budget_exceeded: Callable[[BudgetExceededError], object] | None = None,
        on_warning: Callable[[Report], object] | None = None,
        warning_thresholds: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        if tier != "standard":
            _log.warning(
                "tier=%r makes no call cheaper: what a provider answers as a batch is charged as a "
                "batch, and every other call at its ordinary price.",
                tier,
            )
        marks = DEFAULT_WARNING_THRESHOLDS if warning_thresholds is None else warning_thresholds
        settings = {"soft_limit": None, "max_repeated_calls": None, **options}
        settings.setdefault("parent", context.current_session())
        self._budget = AgentBudget(
            budget_usd, on_warning=on_warning, warning_thresholds=marks, **settings
        )
        self._on_budget_exceeded = on_budget_exceeded
        self.account = self._opened()

    @classmethod
    def openai(cls, budget_usd: Money, api_key: str | None = None, **options: Any) -> Any:
        """Return an `openai.OpenAI` with a budget; its ``session`` is the `BudgetedSession`.

        Args:
            budget_usd: see `BudgetedSession`.
            api_key: the client's; by default ``OPENAI_API_KEY``.
            **options: ``tier``, ``on_budget_exceeded``, ``on_warning`` and ``warning_thresholds``
                as `BudgetedSession` takes them; the others are the client's own.
        """
        from openai import OpenAI  # noqa: PLC0415  an SDK is imported by those who use it

        session = cls(budget_usd, **_taken(options))
        return session.wrap_openai(OpenAI(api_key=api_key, **options))

    @classmethod
    def anthropic(cls, budget_usd: Money, api_key: str | None = None, **options: Any) -> Any:
        """Return an `anthropic.Anthropic` with a budget; see `openai`."""
        from anthropic import Anthropic  # noqa: PLC0415  an SDK is imported by those who use it

        session = cls(budget_usd, **_taken(options))
        return session.wrap_anthropic(Anthropic(api_key=api_key, **options))

    @classmethod
    def google(cls, budget_usd: Money, api_key: str | None = None, **options: Any) -> Any:
        """Return a `google.genai.Client` with a budget; see `openai`."""
        from google.genai import Client  # noqa: PLC0415  an SDK is imported by those who use it

        session = cls(budget_usd, **_taken(options))
        return session.wrap_google(Client(api_key=api_key, **options))

    def wrap_openai(self, client: Any) -> Any:
        """Return a budgeted copy of an OpenAI client, sync or async."""
        return bound(client, self._binding())

    wrap_anthropic = wrap_google = wrap_openai
    """The same for a client of Anthropic's, and for a `google.genai.Client`."""

    def get_total_spent(self) -> float:
        """Return the dollars spent so far."""
        return self.account.spent

    def get_remaining_budget(self) -> float:
        """Return the dollars neither spent nor held by calls in flight."""
        return self.get_summary()["remaining"]

    def get_budget(self) -> float:
        """Return the whole budget in dollars."""
        return self.get_summary()["budget"]

    def get_reserved(self) -> float:
        """Return the dollars held by calls in flight."""
        return self.account.reserved

    def get_summary(self) -> Summary:
        """Return budget, spent, reserved and remaining in dollars, and the share in use."""
        account = self.account
        balance, budget = account.balance(), account.limits.lifelong("usd") or 0
        used = balance.spent.usd + balance.reserved.usd
        return {
            "budget": to_usd(budget),
            "spent": to_usd(balance.spent.usd),
            "reserved": to_usd(balance.reserved.usd),
            "remaining": to_usd(max(0, budget - used)),
            "utilization_percent": used / budget * 100 if budget else 0.0,
        }

    def reset(self) -> None:
        """Count everything from zero again, and arm the warnings.

        Calls in flight are settled in the account in which they were opened; those made from now
        on have the whole budget.
        """
        self.account = self._opened()

    def _opened(self) -> BudgetSession:
        # the one before lives on as long as it has calls in flight
        return self._budget.session(kind=_Account)

    def _binding(self) -> Binding:
        tell = self._on_budget_exceeded
        epochs = _Epochs((), None if tell is None else lambda error: tell(_renamed(error)))
        epochs.owner = self
        return epochs


class _Account(BudgetSession):
    """A session that raises this library's error."""

    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted:
        return _renamed(super().refused(refusal, request))

    def stopped(self, call: PaidCall) -> BudgetExhausted:
        return _renamed(super().stopped(call)).recast(call.request.mixin)


class _Epochs(Binding):
    """A binding to whatever account is open when a call is made."""

    owner: BudgetedSession

    @property
    def sessions(self) -> tuple[BudgetSession, ...]:
        return (self.owner.account,)

    @property
    def session(self) -> BudgetedSession:
        return self.owner


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    ours = ("tier", "on_budget_exceeded", "on_warning", "warning_thresholds")
    return {name: options.pop(name) for name in ours if name in options}


def _renamed(error: BudgetExhausted) -> BudgetExceededError:
    if isinstance(error, BudgetExceededError):
        return error
    twin = BudgetExceededError(*error.args)
    twin.__dict__.update(error.__dict__)
    return twin
