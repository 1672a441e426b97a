"""Where processes of one user leave files for each other."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def state_dir() -> Path:
    """Return the folder: ``$XDG_STATE_HOME/budget-suite``, by default below ``~/.local/state``."""
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError:  # this user has no home
        return Path(tempfile.gettempdir()) / f"budget-suite-{os.getuid()}"
    return Path(base) / "budget-suite"
