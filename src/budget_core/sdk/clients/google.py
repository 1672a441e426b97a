"""Google's genai client with a budget."""

from __future__ import annotations

from typing import Any

from google import genai

from budget_core.sdk.claims import Binding, binding_of
from budget_core.sdk.clients.budgeted import BudgetedClient, bound_to, carried, joined


class BudgetedGoogle(BudgetedClient, genai.Client):
    """`google.genai.Client` with a budget: see `BudgetedClient` for what it takes beside.

    Its ``aio`` spends the same money.
    """

    def _bearer(self) -> Any:
        return self._api_client

    def _bind(self, to: Binding) -> None:
        attach(self, to)


def attach(client: Any, to: Binding) -> None:
    """Give a client a budget."""
    api = client._api_client  # noqa: SLF001  the one by which all its resources send
    # by its class: its state is shared with the twins that `wrapped` makes
    api.__class__ = _kind(type(api), **carried(joined(binding_of(api), to)))


def wrapped(client: Any, to: Binding) -> Any:
    """Return a budgeted twin of a client, or of its ``aio``; the client itself is left as it is.

    The twin shares the client's connections, and leaves closing them to it.
    """
    api = client._api_client  # noqa: SLF001  as above
    twin = _twin(api, **carried(joined(binding_of(api), to)))
    twin.__dict__ = api.__dict__
    session = property(lambda self: bound_to(self._api_client).session)
    return _rebound(client, api, twin, session=session)


def _twin(thing: Any, **attributes: Any) -> Any:
    """Return an empty object of the same kind that keeps `thing` alive, and closes nothing."""
    own = {"_original": thing, "__del__": lambda _self: None}
    return object.__new__(_kind(type(thing), **own, **attributes))


def _kind(kind: type, **attributes: Any) -> type:
    """Return a class for one object, whose state may be shared while these attributes are not."""
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **attributes})


def _rebound(thing: Any, old: Any, new: Any, **attributes: Any) -> Any:
    """Copy `thing` and the resources in it that send by `old`, so that they send by `new`."""
    twin = _twin(thing, **attributes)
    for name, value in vars(thing).items():
        sends = getattr(value, "__dict__", {}).get("_api_client") is old
        twin.__dict__[name] = new if value is old else _rebound(value, old, new) if sends else value
    return twin
