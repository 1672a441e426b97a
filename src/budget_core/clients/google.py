"""Google's genai client with a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from google import genai

from budget_core.clients.binding import binding, joined, keep_guarded
from budget_core.sdk.claims import ATTRIBUTE, Binding, binding_of
from budget_core.session import BudgetSession

if TYPE_CHECKING:
    from budget_core.budget import AgentBudget
    from budget_core.errors import BudgetExhausted
    from budget_core.limits import Limit
    from budget_core.money import Money
    from budget_core.policy import Report


class BudgetedGoogle(genai.Client):
    """`google.genai.Client` with a budget; its ``aio`` spends the same money.

    Args:
        budget, session, on_exhausted, on_warning, warning_thresholds: see `BudgetedOpenAI`.
        **options: the client's own.
    """

    def __init__(
        self,
        *,
        budget: Money | Limit | AgentBudget | None = None,
        session: BudgetSession | None = None,
        on_exhausted: Callable[[BudgetExhausted], object] | None = None,
        on_warning: Callable[[Report], object] | None = None,
        warning_thresholds: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        bound = binding(
            budget,
            session,
            on_exhausted=on_exhausted,
            on_warning=on_warning,
            warning_thresholds=warning_thresholds,
        )
        super().__init__(**options)
        api = self._api_client
        api.__class__ = _kind(type(api), **{ATTRIBUTE: bound})
        keep_guarded(api)

    @property
    def session(self) -> BudgetSession:
        """The session that pays for this client's calls."""
        bound = binding_of(self._api_client)
        assert bound is not None  # noqa: S101
        return bound.sessions[-1]


def wrapped(client: Any, to: Binding) -> Any:
    """Return a budgeted twin of a client, or of its ``aio``; the client itself is left as it is.

    The twin shares the client's connections, and leaves closing them to it.
    """
    api = client._api_client  # noqa: SLF001  the one by which all its resources send
    twin = _twin(api, **{ATTRIBUTE: joined(binding_of(api), to)})
    twin.__dict__ = api.__dict__
    keep_guarded(twin)
    return _rebound(client, api, twin)


def _twin(thing: Any, **attributes: Any) -> Any:
    """Return an empty object of the same kind that keeps `thing` alive, and closes nothing."""
    own = {"_original": thing, "__del__": lambda _self: None}
    return object.__new__(_kind(type(thing), **own, **attributes))


def _kind(kind: type, **attributes: Any) -> type:
    """Return a class for one object, whose state may be shared while these attributes are not."""
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **attributes})


def _rebound(thing: Any, old: Any, new: Any) -> Any:
    """Copy `thing` and the resources in it that send by `old`, so that they send by `new`."""
    twin = _twin(thing)
    for name, value in vars(thing).items():
        sends = getattr(value, "__dict__", {}).get("_api_client") is old
        twin.__dict__[name] = new if value is old else _rebound(value, old, new) if sends else value
    return twin
