"""What budgeted clients of openai and anthropic share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from budget_core.clients.binding import binding, joined, keep_guarded
from budget_core.sdk.claims import ATTRIBUTE, Binding, binding_of
from budget_core.session import BudgetSession

if TYPE_CHECKING:
    from budget_core.budget import AgentBudget
    from budget_core.errors import BudgetExhausted
    from budget_core.limits import Limit
    from budget_core.money import Money
    from budget_core.policy import Report


class BudgetedClient:
    """A client whose every call is held before it is sent and settled after it.

    It works like the client of which it is a kind, with the same arguments; copies of it
    (``with_options``, ``copy``) spend the same money.

    Args:
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget` for every other setting.
        session: the session that pays, in place of `budget`.
        on_exhausted: called with the `BudgetExhausted` of a call that does not fit; the call then
            returns None. Without it the error is raised. It is always raised by the SDK's stream
            helpers, which cannot do without a stream, and by a stream that is stopped midway.
        on_warning, warning_thresholds: see `AgentBudget`.
        **options: the client's own.
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
        bound = _budget_binding or binding(
            budget,
            session,
            on_exhausted=on_exhausted,
            on_warning=on_warning,
            warning_thresholds=warning_thresholds,
        )
        super().__init__(*args, **options)
        _bind(self, bound)

    @property
    def session(self) -> BudgetSession:
        """The session that pays for this client's calls."""
        return _binding(self).sessions[-1]

    if not TYPE_CHECKING:  # to type checkers these are the client's own

        def copy(self, *args: Any, _extra_kwargs: Mapping[str, Any] = {}, **options: Any) -> Any:
            """Return a client with other options and the same budget."""
            bound = {"_budget_binding": binding_of(self)}
            return super().copy(*args, _extra_kwargs={**_extra_kwargs, **bound}, **options)

        def with_options(self, *args: Any, **options: Any) -> Any:
            """Do what `copy` does."""
            return self.copy(*args, **options)


def wrapped(client: Any, to: Binding) -> Any:
    """Return a budgeted copy of a client; the client itself is left as it is."""
    twin = client.copy()
    if not isinstance(twin, BudgetedClient) and binding_of(client) is None:
        kind: type = type(twin)
        twin.__class__ = _bound(kind)
    return _bind(twin, joined(binding_of(client), to))


@cache
def _bound(kind: type) -> type:
    """Return a subclass whose copies are bound as they are themselves.

    Not a `BudgetedClient`: an object may only become one of a class that adds nothing but methods
    to its own.
    """
    original: Any = kind

    def copy(self: Any, *args: Any, **options: Any) -> Any:
        return _bind(original.copy(self, *args, **options), _binding(self))

    methods = {"copy": copy, "with_options": copy, "session": BudgetedClient.session}
    return type(f"Budgeted{kind.__name__}", (kind,), {"__module__": __name__, **methods})


def _bind(client: Any, to: Binding) -> Any:
    setattr(client, ATTRIBUTE, to)
    keep_guarded(client)
    return client


def _binding(client: Any) -> Binding:
    bound = binding_of(client)
    assert bound is not None  # noqa: S101
    return bound
