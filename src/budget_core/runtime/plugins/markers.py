"""The markers of this project's hooks."""

from __future__ import annotations

from typing import Final

import pluggy

PROJECT: Final = "budget_core"


hookspec = pluggy.HookspecMarker(PROJECT)


hookimpl = pluggy.HookimplMarker(PROJECT)
