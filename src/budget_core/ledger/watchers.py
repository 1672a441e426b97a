"""Those who want to know when money of an account may have become free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock

from budget_core.runtime.forks import in_child


class Watchers(dict[str | None, dict[object, Callable[[], object]]]):
    """Callbacks, by the account that each is about; None: by any."""

    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        """Call `callback` from now on; return what ends that."""
        token = object()
        with _lock:
            self.setdefault(account, {})[token] = callback

        def end() -> None:
            with _lock:
                watchers = self.get(account, {})
                if watchers.pop(token, None) is not None and not watchers:
                    del self[account]

        return end

    def wake(self, path: Iterable[str] | None = None) -> None:
        """Call those of the accounts on a way to the root; all, if none is given."""
        for account in tuple(self) if path is None else (None, *path):
            for callback in tuple(self.get(account, {}).values()):
                callback()


def _forked() -> None:
    global _lock  # noqa: PLW0603
    _lock = RLock()


_lock = RLock()
in_child(_forked)
