"""Sessions of one name in one process: they share an account, and the last one closes it."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from budget_core.runtime.forks import in_child

if TYPE_CHECKING:
    from budget_core.ledger import Ledger
    from budget_core.session.session import BudgetSession


class Namesakes:
    """The sessions that have one account open.

    Attributes:
        lock: for those who open or close it.
        open: they, as long as somebody uses them.
    """

    __slots__ = ("__weakref__", "lock", "open")

    def __init__(self) -> None:
        self.lock = RLock()
        self.open: WeakSet[BudgetSession] = WeakSet()


_known: WeakKeyDictionary[Ledger, WeakValueDictionary[str, Namesakes]] = WeakKeyDictionary()
_lock = RLock()


def namesakes(ledger: Ledger, account: str) -> Namesakes:
    """Return the sessions of an account."""
    with _lock:
        known = _known.setdefault(ledger, WeakValueDictionary())
        return known.setdefault(account, Namesakes())


def _forked() -> None:
    """Wait for no thread of the parent process."""
    global _lock  # noqa: PLW0603
    _lock = RLock()
    for accounts in _known.values():
        for each in accounts.values():
            each.lock = RLock()


in_child(_forked)
