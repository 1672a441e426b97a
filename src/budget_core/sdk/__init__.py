"""Guards on the provider SDKs: no-ops until a session claims the calls made through them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

_GUARDS: Final = {"openai": "budget_core.sdk.openai"}
_guarded: set[str] = set()


def guard_loaded() -> None:
    """Guard every SDK that this program has imported; cheap to call again and again."""
    for sdk, guard in _GUARDS.items():
        if sdk in sys.modules and sdk not in _guarded:
            import_module(guard).install()
            _guarded.add(sdk)


def is_guarded(sdk: str) -> bool:
    """Tell whether an SDK is guarded, so that it is capped and settled without a framework."""
    return sdk in _guarded
