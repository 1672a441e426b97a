"""URLs of ledgers."""

from __future__ import annotations

import re


def shown(url: str) -> str:
    """Return a URL as messages may show it: no password, no settings."""
    return re.sub("//.*@", "//", url.partition("?")[0])
