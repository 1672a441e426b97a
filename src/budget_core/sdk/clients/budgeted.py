"""What every client with a budget takes, whatever its SDK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from budget_core.runtime.finalizers import when_dropped
from budget_core.runtime.settings import check_settings, constructors_of
from budget_core.sdk.claims import ATTRIBUTE, Binding, binding_of
from budget_core.sdk.installing import GuardLease
from budget_core.session.budget import AgentBudget
from budget_core.session.session import BudgetSession

if TYPE_CHECKING:
    from budget_core.errors import BudgetExhausted
    from budget_core.money.limits import Limit
    from budget_core.money.usd import Money
    from budget_core.session.policy import Report


class BudgetedClient:
    """A client whose every call is held before it is sent and settled after it.

    It works like the client of which it is a kind, with the same arguments; copies of it
    (``with_options``, ``copy``, ``aio``) spend the same money.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget` for every other setting. Of an amount,
            loops are not looked for.
        session: the session that pays, in place of `budget`.
        on_exhausted: called with the `BudgetExhausted` of a call that does not fit; the call then
            returns None. Without it the error is raised. It is always raised by openai's and
            anthropic's stream helpers, which cannot do without a stream, and by a stream that is
            stopped midway.
        on_warning, warning_thresholds: see `AgentBudget`.
        **options: the client's own.

    Raises:
        TypeError: neither or both of `budget` and `session`, or warnings that are settled already.
        UnknownSetting: neither this nor the SDK's client has such a setting.
    """

    def __init__(
        self,
        *args: Any,
        budget: Money | Limit | AgentBudget | None = None,
        session: BudgetSession | None = None,
        on_exhausted: Callable[[BudgetExhausted], object] | None = None,
        on_warning: Callable[[Report], object] | None = None,
        warning_thresholds: Sequence[float] | None = None,
        _budget_binding: Binding | None = None,
        **options: Any,
    ) -> None:
        bound = _budget_binding
        if bound is None:
            check_settings(options, *constructors_of(type(self)), of=type(self).__name__)
            warnings = {"on_warning": on_warning, "warning_thresholds": warning_thresholds}
            said = {name: value for name, value in warnings.items() if value is not None}
            bound = Binding((_payer(budget, session, said),), on_exhausted)
        super().__init__(*args, **options)
        self._bind(bound)

    @property
    def session(self) -> BudgetSession:
        """The session that pays for this client's calls."""
        return cast("BudgetSession", bound_to(self._bearer()).session)

    def _bind(self, to: Binding) -> None:
        bind(self._bearer(), to)

    def _bearer(self) -> Any:
        return self


def bind(bearer: Any, to: Binding) -> None:
    """Let a client carry a binding."""
    for name, value in carried(to).items():
        setattr(bearer, name, value)


def carried(to: Binding) -> dict[str, Any]:
    """Return the attributes that a client carries: its budget, and what keeps its SDK guarded."""
    return {ATTRIBUTE: to, "_budget_keeper": _Keeper()}


class _Keeper:
    """Keeps the SDKs guarded for as long as a client lives, or a copy that shares its state."""

    def __init__(self) -> None:
        when_dropped(self, GuardLease().release)


def bound_to(bearer: Any) -> Binding:
    """Return the binding of a client that has one."""
    bound = binding_of(bearer)
    assert bound is not None  # noqa: S101
    return bound


def joined(before: Binding | None, to: Binding) -> Binding:
    """Return the binding of a client that was bound before: both budgets hold."""
    if before is None:
        return to
    sessions = tuple(dict.fromkeys((*before.sessions, *to.sessions)))
    return Binding(sessions, to.on_exhausted or before.on_exhausted)


def _payer(
    budget: Money | Limit | AgentBudget | None,
    session: BudgetSession | None,
    warnings: dict[str, Any],
) -> BudgetSession:
    if (budget is None) == (session is None):
        raise TypeError(
            "A budgeted client takes either budget= (an amount such as '$5.00', or an AgentBudget) "
            "or session= (the session that pays)."
        )
    if session is None and not isinstance(budget, AgentBudget):
        # a client is not an agent: to ask it the same thing again and again is no loop
        return AgentBudget(budget, max_repeated_calls=None, **warnings).session()
    if warnings:
        raise TypeError(
            f"{', '.join(warnings)}: say so where the budget is made, with AgentBudget(...)."
        )
    return budget.session() if isinstance(budget, AgentBudget) else session  # type: ignore[return-value]
