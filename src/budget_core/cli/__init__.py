"""The command line: ``budget demo``, ``report``, ``models`` and ``estimate``.

Needs ``pip install 'budget-suite[cli]'``; nothing else of the package imports this one.
"""

from __future__ import annotations

import sys
from typing import Final

_NEEDED: Final = ("typer", "rich")


def main() -> None:
    """Run the command that the program's arguments name, and exit with its code.

    0: all went well. 1: it did not, and stderr says why. 2: the arguments cannot be read.
    """
    try:
        from budget_core.cli.app import app  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.exit(f"budget: {error.name} is missing; run: pip install 'budget-suite[cli]'")
    app()


__all__ = ["main"]
