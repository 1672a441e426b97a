"""Replacing an SDK's methods, and putting them back: all of them or none."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from budget_core.errors import GuardError
from budget_core.runtime.imports import when_imported


class Patches:
    """The methods of one SDK that are wrapped, each restored by `undo`.

    Args:
        sdk: the SDK's module.
    """

    def __init__(self, sdk: str) -> None:
        self.sdk = sdk
        self._restore: list[Callable[[], None]] = []
        self._awaited: set[tuple[str, str, str]] = set()

    @property
    def active(self) -> bool:
        return bool(self._restore)

    def expect(self, module: Any, path: str, parameters: Iterable[str]) -> None:
        """Make sure that a method is there and takes what it is known to take.

        Raises:
            GuardError: it does not.
        """
        method: Any = module
        for name in path.split("."):
            method = getattr(method, name, None)
        if method is None or not set(parameters) <= set(inspect.signature(method).parameters):
            version = getattr(sys.modules[self.sdk], "__version__", "of unknown version")
            raise GuardError(
                f"{self.sdk} {version} cannot be guarded: {path} is not what this version of "
                "budget-suite knows, and nothing would be enforced on its calls. Update "
                f"budget-suite, or install an earlier {self.sdk}."
            )

    def wrap(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        """Let `hook` be called with the original method and its arguments in place of it."""
        original, slot = owner.__dict__[name], _Slot(hook)
        hooked = _hooked_async if inspect.iscoroutinefunction(original) else _hooked
        ours = functools.wraps(original)(hooked(original, slot))
        setattr(owner, name, ours)

        def restore() -> None:
            slot.hook = None  # what has wrapped it since keeps it, and it does nothing
            if owner.__dict__[name] is ours:
                setattr(owner, name, original)

        self._restore.append(restore)

    def wrap_later(self, module: str, owner: str, name: str, hook: Callable[..., Any]) -> None:
        """Wrap a method of a class, as soon as its module is imported.

        Raises:
            GuardError: the class has no such method; from the import if that is still to come.
        """

        def wrap(loaded: Any) -> None:
            if self.active:
                self.expect(loaded, f"{owner}.{name}", ())
                self.wrap(getattr(loaded, owner), name, hook)

        if module in sys.modules or (module, owner, name) not in self._awaited:
            self._awaited.add((module, owner, name))
            when_imported(module, wrap)

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Put every method back; one that others have wrapped since is theirs, and unhooked."""
        while self._restore:
            self._restore.pop()()


class _Slot:
    """Where a wrapped method finds its hook, until it is taken out."""

    __slots__ = ("hook",)

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook: Callable[..., Any] | None = hook


def _hooked(original: Any, slot: _Slot) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        hook = slot.hook
        return original(*args, **kwargs) if hook is None else hook(original, *args, **kwargs)

    return hooked


def _hooked_async(original: Any, slot: _Slot) -> Callable[..., Any]:
    async def hooked(*args: Any, **kwargs: Any) -> Any:  # tenacity awaits nothing else
        hook = slot.hook
        return await (
            original(*args, **kwargs) if hook is None else hook(original, *args, **kwargs)
        )

    return hooked
