"""`Watch`: sees every request to some APIs, and keeps them within their limits."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import time
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import SplitResult

from budget_core.errors import InvalidBudget
from budget_core.events import ask
from budget_core.ledger import Balance, Ledger, ledger_from
from budget_core.ledger.resilient.ledger import steady
from budget_core.quota import http
from budget_core.quota.api import Api, written
from budget_core.quota.board import Board
from budget_core.quota.gate import Gate
from budget_core.quota.headroom import Headroom
from budget_core.quota.record import ApiCall
from budget_core.runtime.settings import checked_settings
from budget_core.runtime.waiting import default_wait
from budget_core.session.policy import DEFAULT_WAIT

if TYPE_CHECKING:
    from types import TracebackType

_ERROR: Final = 400


@checked_settings
class Watch:
    """Watches APIs from `start`, or the beginning of its ``with``, until `stop`.

    >>> openai = Api("OpenAI", "https://api.openai.com", ["60 requests/min", "10000 requests/day"])
    >>> with Watch(openai, on_limit="wait", ledger="redis://localhost/0"):
    ...     run_agents()

    Args:
        *apis: what to watch; of two that claim a URL, the longer `base_url` has it.
        environment: by which records are told apart.
        ledger: counts what is used; as `AgentBudget` takes it. Processes that name the same one
            share the limits.
        on_limit: "refuse" a request that is one too many, with `QuotaExceeded`, let it "wait", or
            only "observe" what is used. The openai and anthropic SDKs, which retry any error, get a
            429 that they do not retry.
        wait: seconds a request waits at most; by default 30, and 0 in synchronous code inside an
            event loop.
        learn: also stay within what the APIs' rate-limit headers say is left.
        on_call: called with an `ApiCall` for each request; what it raises is logged.

    Raises:
        InvalidBudget: two APIs have one name, or `on_limit` is none of these.
        UnknownSetting: there is no such setting.
        LedgerUnavailable: the ledger does not answer.
    """

    def __init__(
        self,
        *apis: Api,
        environment: str = "production",
        ledger: Ledger | str | None = None,
        on_limit: Literal["observe", "refuse", "wait"] = "refuse",
        wait: float | None = None,
        learn: bool = True,
        on_call: Callable[[ApiCall], object] | None = None,
    ) -> None:
        if len({api.name for api in apis}) < len(apis):
            raise InvalidBudget("Two APIs of one name: give each a name of its own.")
        if on_limit not in ("observe", "refuse", "wait"):
            raise InvalidBudget(
                f"on_limit= is one of 'observe', 'refuse', 'wait'; got {on_limit!r}."
            )
        self.environment = environment
        self.on_call = on_call
        self.learn = learn and on_limit != "observe"
        self.observe = on_limit == "observe"
        self._wait = wait if on_limit == "wait" else 0.0
        self._board = Board()
        account_of = steady(ledger_from(ledger))
        self._watched = tuple(Watched(api, self, account_of) for api in apis)

    def start(self) -> Self:
        """Begin to watch: every client of this process, those made earlier too. Twice is once."""
        http.begin(self)
        return self

    def stop(self) -> None:
        """End it; the last watch that ends takes the hooks out of the HTTP clients."""
        http.end(self)
        self._board.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def report(self) -> list[dict[str, Any]]:
        """Return for each API what was called, what is used, and what is left. JSON-ready."""
        return [watched.report() for watched in self._watched]

    # -- for the hooks -----------------------------------------------------------------------

    def watched_at(self, url: SplitResult) -> Watched | None:
        """Return the API that a URL belongs to, or None."""
        claims = ((watched.api.covers(url), watched) for watched in self._watched)
        longest, watched = max(claims, key=lambda claim: claim[0], default=(0, None))
        return watched if longest else None

    def patience(self, *, awaiting: bool) -> float:
        """Return the seconds that a request may wait; `awaiting` where it stops no event loop."""
        if self._wait is None:
            return DEFAULT_WAIT if awaiting else default_wait()
        return self._wait

    def post(self, report: dict[str, Any]) -> None:
        """Put up for everybody on this machine what an API said last."""
        self._board.post(report)


def used(balance: Balance) -> list[dict[str, Any]]:
    """Return what is used of each limit of an account that counts an API's use."""
    return [
        {
            "limit": written(window.limit),
            "amount": window.limit.amount,
            "used": window.spent,
            "held": window.reserved,
            "left": max(0, window.limit.amount - window.spent - window.reserved),
        }
        for window in balance.windows
    ]


class Watched:
    """One API of a watch: its gate, and what went through."""

    def __init__(self, api: Api, watch: Watch, ledger: Ledger) -> None:
        self.api = api
        self.environment = watch.environment
        self.counts_tokens = any(limit.unit == "tokens" for limit in api.every)
        self.headroom = Headroom()
        heeded = self.headroom if watch.learn else None
        self.gate = Gate(api, ledger, heeded, observe=watch.observe)
        self._watch = watch
        self._lock = Lock()
        self._counts = dict.fromkeys(("requests", "errors", "hit429", "refused", "waited"), 0)
        self._waited_seconds = 0.0

    def record(self, call: ApiCall) -> None:
        """Count a request, and tell whoever is to be told."""
        if not self._watch.learn:
            self.headroom.learn(call.rate_limit_headers, time(), refused=False)
        with self._lock:
            self._counts["requests"] += 1
            self._counts["errors"] += call.status == 0 or call.status >= _ERROR
            self._counts["hit429"] += call.hit429
        if call.rate_limit_headers:
            self._watch.post(self._said())
        ask(self._watch.on_call, lambda: call)

    def refused(self) -> None:
        """Count a request that was not let through."""
        with self._lock:
            self._counts["refused"] += 1

    def waited(self, seconds: float) -> None:
        """Count a request that may have had to wait."""
        if seconds:
            with self._lock:
                self._counts["waited"] += 1
                self._waited_seconds += seconds

    def report(self) -> dict[str, Any]:
        """Return what is known of this API."""
        balance = self.gate.balance()
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
            "headroom": {kind: room._asdict() for kind, room in self.headroom.rooms(now).items()},
        }
