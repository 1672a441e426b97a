"""What all of Google's methods have in common: both spellings of a field, and the errors."""

from __future__ import annotations

import re
from typing import Any

from budget_core.testing.wire import Json, Wire

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_UPPER = re.compile(r"([A-Z])")


class GoogleWire(Wire):
    """The wire format of one of Google's methods."""

    def error(self, status: int, message: str, code: str | None) -> Json:  # noqa: ARG002
        name = STATUSES.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": name}}


def field(value: Json, name: str) -> Any:
    """Return a field under its camelCase or its snake_case name; None if it is missing."""
    return value.get(name, value.get(_UPPER.sub(r"_\1", name).lower()))
