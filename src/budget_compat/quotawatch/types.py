"""The settings of `QuotaWatch`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from budget_core.ledger import Ledger
from budget_core.quota import Api
from budget_core.sdk.clients.check import default_collector


@dataclass
class ApiLimits:
    """How much of an API may be used; None for no limit."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None

    def written(self) -> list[str]:
        """Return the limits as `budget_core.quota.Api` takes them."""
        given = ((limit.name, getattr(self, limit.name)) for limit in fields(self))
        return [f"{n} {name.replace('_per_', '/')}" for name, n in given if n is not None]


@dataclass
class ApiConfig:
    """An API that is watched; `plan` and `cost_per_month` are accepted, and not used."""

    name: str
    base_url: str
    limits: ApiLimits = field(default_factory=ApiLimits)
    plan: str | None = None
    cost_per_month: float | None = None

    def api(self) -> Api:
        """Return it as `budget_core.quota.Watch` takes it."""
        return Api(self.name, self.base_url, self.limits.written())


@dataclass
class QuotaWatchConfig:
    """What `QuotaWatch.init` takes.

    Attributes:
        api_key: of the collector.
        apis: what to watch.
        environment: by which events are told apart.
        ingest_url: the collector; by default what BUDGET_COLLECTOR names, else a ``budget collect``
            on this machine.
        buffer_size: events that may wait; a newer one takes the place of the oldest.
        flush_interval_seconds: between two batches.
        on_limit: "observe" as the other library does, or "refuse", or "wait" (see
            `budget_core.quota.Watch`).
        ledger: counts what is used, for processes that share it.
    """

    api_key: str
    apis: list[ApiConfig]
    environment: str = "production"
    ingest_url: str = field(default_factory=default_collector)
    buffer_size: int = 500
    flush_interval_seconds: float = 5.0
    on_limit: Literal["observe", "refuse", "wait"] = "observe"
    ledger: Ledger | str | None = None


__all__ = ["ApiConfig", "ApiLimits", "QuotaWatchConfig"]
