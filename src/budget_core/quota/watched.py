"""One API of a watch: what is called of it, and what is used of its limits."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import time
from typing import Any, Final

from budget_core.events import ask
from budget_core.ledger import Balance, Ledger
from budget_core.quota.api import REQUESTS, Api
from budget_core.quota.limiter import Limiter
from budget_core.quota.rate_limits import RateLimits
from budget_core.quota.record import ApiCall

_ERROR: Final = 400


def used(balance: Balance) -> list[dict[str, Any]]:
    return [
        {
            "limit": window.limit.written(REQUESTS),
            "amount": window.limit.amount,
            "used": window.spent,
            "held": window.reserved,
            "left": max(0, window.limit.amount - window.spent - window.reserved),
        }
        for window in balance.windows
    ]


class Watched:
    """One API of a watch: its limiter, and what was sent.

    Args:
        api: with its limits.
        ledger: counts what is used of them.
        environment, observe, learn, on_call: see `Watch`.
        post: takes what the API said last.
    """

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        *,
        environment: str,
        observe: bool,
        learn: bool,
        on_call: Callable[[ApiCall], object] | None,
        post: Callable[[dict[str, Any]], object],
    ) -> None:
        self.api = api
        self.environment = environment
        self.counts_tokens = any(limit.unit == "tokens" for limit in api.every)
        self.rate_limits = RateLimits()
        heeded = self.rate_limits if learn else None
        self.limiter = Limiter(api, ledger, heeded, observe=observe)
        self._learns, self._on_call, self._post = learn, on_call, post
        self._lock = Lock()
        self._counts = dict.fromkeys(("requests", "errors", "hit429", "refused", "waited"), 0)
        self._waited_seconds = 0.0

    def record(self, call: ApiCall) -> None:
        if not self._learns:
            self.rate_limits.learn(call.rate_limit_headers, time(), refused=False)
        with self._lock:
            self._counts["requests"] += 1
            self._counts["errors"] += call.status == 0 or call.status >= _ERROR
            self._counts["hit429"] += call.hit429
        if call.rate_limit_headers:
            self._post(self._said())
        ask(self._on_call, lambda: call)

    def refused(self) -> None:
        with self._lock:
            self._counts["refused"] += 1

    def waited(self, seconds: float) -> None:
        if seconds:
            with self._lock:
                self._counts["waited"] += 1
                self._waited_seconds += seconds

    def report(self) -> dict[str, Any]:
        balance = self.limiter.balance()
        with self._lock:
            counts, waited = dict(self._counts), self._waited_seconds
        return {
            **self._said(),
            **counts,
            "waited_seconds": waited,
            "limits": [] if balance is None else used(balance),
        }

    def _said(self) -> dict[str, Any]:
        now = time()
        return {
            "api": self.api.name,
            "base_url": self.api.base_url,
            "environment": self.environment,
            "at": now,
            "headroom": {
                kind: state._asdict() for kind, state in self.rate_limits.states(now).items()
            },
        }
