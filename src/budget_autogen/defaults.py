"""What an agent is given that was given nothing."""

from __future__ import annotations

import os
from typing import Final

CHEAP: Final = "gpt-4o-mini"


def default_model() -> str:
    """Return the model that OPENAI_MODEL names, else a cheap one."""
    return os.environ.get("OPENAI_MODEL") or CHEAP
