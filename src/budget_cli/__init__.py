"""The command line: ``budget demo``, ``report``, ``models``, ``estimate``, ``run``, and ledgers.

Needs ``pip install 'budget-suite[cli]'``; nothing else of the package imports this one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

_NEEDED: Final = ("typer", "rich")


def main() -> None:
    """Run the command that the program's arguments name, and exit with its code.

    0: all went well. 1: it did not, and stderr says why. 2: the arguments cannot be read. What
    ``budget run`` adds, its help says.
    """
    try:
        for needed in _NEEDED:
            import_module(needed)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        sys.exit(f"budget: {missing} is missing; run: pip install 'budget-suite[cli]'")
    from budget_cli.app import app  # noqa: PLC0415  an extra

    app()


__all__ = ["main"]
