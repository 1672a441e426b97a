"""What a forked child does first."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(begin: Callable[[], object]) -> None:
    """Let `begin` run in every child that is forked from now on, where processes fork at all."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin)
