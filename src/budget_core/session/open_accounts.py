"""Sessions of one name in one process: they share an account, and the last one closes it."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.runtime.forks import in_child
from budget_core.runtime.weak import WeakBag, WeakValues

if TYPE_CHECKING:
    from budget_core.ledger import Ledger


class Openers:
    """The sessions that have one account open.

    Attributes:
        lock: for those who open or close it.
        open: they, as long as they are used.
    """

    __slots__ = ("__weakref__", "_ledger", "lock", "open")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger  # as long as it is used, its id is its own
        self.lock = RLock()
        self.open: WeakBag[Any] = WeakBag()


_known: WeakValues[tuple[int, str], Openers] = WeakValues()
_lock = RLock()


def openers_of(ledger: Ledger, account: str) -> Openers:
    with _lock:
        return _known.setdefault((id(ledger), account), lambda: Openers(ledger))


def _forked() -> None:
    """Wait for no thread of the parent process."""
    global _lock  # noqa: PLW0603
    _lock = RLock()
    for each in _known.values():
        each.lock = RLock()


in_child(_forked)
