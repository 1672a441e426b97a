"""Events as JSON, whatever labels and details are in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

_DEEPEST: Final = 8


def to_json(event: Mapping[str, Any]) -> str:
    """Return an event as JSON; what JSON cannot say (NaN, a loop, odd keys) is told in words."""
    try:
        return json.dumps(event, default=str, allow_nan=False)
    except Exception:  # noqa: BLE001  of a foreign object's `__str__`, too
        return json.dumps(_told(event))


def _told(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {_text(key): _told(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_told(inner, depth + 1) for inner in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  whatever a foreign object may raise
        return f"<{type(value).__name__}>"
