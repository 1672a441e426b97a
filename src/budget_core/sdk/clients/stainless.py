"""What budgeted clients of openai and anthropic share: copies spend the same money."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from budget_core.sdk.claims import Binding, binding_of
from budget_core.sdk.clients.budgeted import BudgetedClient, bind, bound_to, joined


class CopiedClient(BudgetedClient):
    """A budgeted client whose copies are made by its own class."""

    if not TYPE_CHECKING:  # to type checkers these are the client's own

        def copy(self, *args: Any, _extra_kwargs: Mapping[str, Any] = {}, **options: Any) -> Any:
            """Return a client with other options and the same budget."""
            bound = {"_budget_binding": bound_to(self)}
            return super().copy(*args, _extra_kwargs={**_extra_kwargs, **bound}, **options)

        def with_options(self, *args: Any, **options: Any) -> Any:
            """Return the same as `copy`."""
            return self.copy(*args, **options)


def wrapped(client: Any, to: Binding) -> Any:
    """Return a budgeted copy of a client; the client itself is left as it is."""
    twin = client.copy()
    attach(twin, to)
    return twin


def attach(client: Any, to: Binding) -> None:
    """Give a client, and the copies that will be made of it, a budget."""
    if binding_of(client) is None:
        kind: type = type(client)
        client.__class__ = _bound(kind)
    bind(client, joined(binding_of(client), to))


@cache
def _bound(kind: type) -> type:
    """Return a subclass whose copies are bound as they are themselves.

    Not a `BudgetedClient`: an object may only become one of a class that adds nothing but methods
    to its own.
    """
    original: Any = kind

    def copy(self: Any, *args: Any, **options: Any) -> Any:
        twin = original.copy(self, *args, **options)
        bind(twin, bound_to(self))
        return twin

    session = property(lambda self: bound_to(self).session)
    methods = {"copy": copy, "with_options": copy, "session": session}
    return type(f"Budgeted{kind.__name__}", (kind,), {"__module__": __name__, **methods})
