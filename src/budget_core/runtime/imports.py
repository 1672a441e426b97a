"""Acting on modules as soon as they are imported, whenever that is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from budget_core.errors import GuardError


def when_imported(module: str, action: Callable[[Any], None]) -> None:
    """Call `action` with a module: now if it is imported, else at the end of its import.

    If it raises `GuardError` at an import, that import fails, and the next one calls it again:
    nothing is imported unguarded because the first error was caught.
    """
    if module in sys.modules:
        action(sys.modules[module])
        return
    # imported here: a program that guards nothing does not need it
    from wrapt import register_post_import_hook  # noqa: PLC0415

    def imported(loaded: Any) -> None:
        try:
            action(loaded)
        except GuardError:
            sys.modules.pop(module, None)
            register_post_import_hook(imported, module)
            raise

    register_post_import_hook(imported, module)
