"""What is recorded of a request to a watched API, and what of it is kept private."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from budget_core.session.screening.risk import analyze_text

_TOLD: Final = re.compile(
    r"(x-|anthropic-|x-ms-)?rate-?limit(-[a-z-]+)?|retry-after(-ms)?", re.IGNORECASE
)


class ApiCall(NamedTuple):
    """One request to a watched API, and how it ended.

    Attributes:
        endpoint: the path of its URL, less what `analyze_text` finds; never a query string.
        status: of the answer, 0 if there was none.
        latency_ms: until the headers of the answer, or the error.
        at: Unix time in seconds at which it was sent.
        hit429: the API refused it as one too many.
        rate_limit_headers: what the answer told of limits, and no other header.
    """

    api: str
    endpoint: str
    method: str
    status: int
    latency_ms: float
    at: float
    environment: str
    hit429: bool
    rate_limit_headers: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready, named as QuotaWatch's events are."""
        when = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        return {
            "api": self.api,
            "endpoint": self.endpoint,
            "method": self.method,
            "status": self.status,
            "latencyMs": round(self.latency_ms),
            "timestamp": when.replace("+00:00", "Z"),
            "environment": self.environment,
            "hit429": self.hit429,
            "rateLimitHeaders": dict(self.rate_limit_headers),
        }


def endpoint_of(path: str) -> str:
    """Return a URL's path, with ``*`` for each part that has an address or a secret in it."""
    if analyze_text(unquote(path)):
        parts = path.split("/")
        return "/".join("*" if analyze_text(unquote(part)) else part for part in parts)
    return path or "/"


def told(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return of an answer's headers those that tell of its limits."""
    return {name.lower(): value for name, value in headers if _TOLD.fullmatch(name)}
