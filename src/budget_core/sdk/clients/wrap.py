"""`wrap_client`: a budget for one client, made already."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from budget_core.sdk.claims import Binding

if TYPE_CHECKING:
    from budget_core.errors import BudgetExhausted
    from budget_core.session.session import BudgetSession

Client = TypeVar("Client")

_HOMES: Final = {"openai": "stainless", "anthropic": "stainless", "google": "google"}


def wrap_client(
    client: Client,
    session: BudgetSession,
    *,
    on_exhausted: Callable[[BudgetExhausted], object] | None = None,
) -> Client:
    """Return a client whose every call `session` pays for; the one given stays as it is.

    >>> with AgentBudget("$5.00").session() as session:
    ...     client = wrap_client(openai.OpenAI(), session)

    What is made from it (``with_options``, ``copy``, its resources) spends the same money. A
    client that is wrapped already is then paid for by both sessions.

    Args:
        client: of openai, anthropic or google-genai; sync, async, or a subclass such as Azure's.
        session: it may be used in any thread or task.
        on_exhausted: called with the error of a call that does not fit; the call then returns None.

    Raises:
        TypeError: no client of these SDKs.
        GuardError: the SDK's insides are not what its guard knows.
    """
    return bound(client, Binding((session,), on_exhausted))


def bound(client: Client, to: Binding) -> Client:
    """Return a copy of a client with a binding (see `wrap_client`)."""
    return cast("Client", _home(client).wrapped(client, to))


def attach(client: Any, to: Binding) -> None:
    """Give a client itself a binding, in place."""
    _home(client).attach(client, to)


def _home(client: Any) -> Any:
    for kind in type(client).__mro__:
        home = _HOMES.get(kind.__module__.partition(".")[0])
        if home is not None:
            return import_module(f"budget_core.sdk.clients.{home}")
    raise TypeError(
        f"wrap_client takes a client of openai, anthropic or google-genai; got {client!r}. For "
        "others, session.wrap(response) records what a response cost."
    )
