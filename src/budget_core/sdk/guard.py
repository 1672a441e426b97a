"""What the guards on the SDKs have in common: putting the hooks in, and taking them out again."""

from __future__ import annotations

from abc import ABC, abstractmethod

from budget_core.sdk.endpoints import Api
from budget_core.sdk.patches import Patches


class Guard(ABC):
    """The hooks on one SDK.

    Args:
        sdk: the SDK's module.
        api: what of its API is billed.
    """

    def __init__(self, sdk: str, api: Api) -> None:
        self.api = api
        self._patches = Patches(sdk)

    def install(self) -> None:
        """Guard every client of this process, those made earlier too. Twice is once.

        Without a session that claims a call, the call passes untouched.

        Raises:
            GuardError: the SDK's insides are not what this guard knows.
        """
        if not self._patches.active:
            with self._patches.all_or_none():
                self.hook(self._patches)

    def uninstall(self) -> None:
        """Take the hooks out."""
        self._patches.undo()

    @abstractmethod
    def hook(self, patches: Patches) -> None:
        """Check that the SDK is built as expected, and put the hooks in."""
