"""Sessions of one name in one process: they share an account, and the last one closes it."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from budget_core.runtime.forks import in_child

if TYPE_CHECKING:
    from budget_core.ledger import Ledger


class Openers:
    """The sessions that have one account open.

    Attributes:
        lock: for those who open or close it.
        open: they, as long as somebody uses them.
    """

    __slots__ = ("__weakref__", "lock", "open")

    def __init__(self) -> None:
        self.lock = RLock()
        self.open: WeakSet[Any] = WeakSet()


_known: WeakKeyDictionary[Ledger, WeakValueDictionary[str, Openers]] = WeakKeyDictionary()
_lock = RLock()


def openers_of(ledger: Ledger, account: str) -> Openers:
    """Return the sessions of an account."""
    with _lock:
        known = _known.setdefault(ledger, WeakValueDictionary())
        return known.setdefault(account, Openers())


def _forked() -> None:
    """Wait for no thread of the parent process."""
    global _lock  # noqa: PLW0603
    _lock = RLock()
    for accounts in _known.values():
        for each in accounts.values():
            each.lock = RLock()


in_child(_forked)
