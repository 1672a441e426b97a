"""`Watch`: sees every request to some APIs, and keeps them within their limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from budget_core.errors import InvalidBudget
from budget_core.ledger import Ledger, ledger_from
from budget_core.ledger.resilient.ledger import resilient
from budget_core.quota import http
from budget_core.quota.api import Api
from budget_core.quota.board import Board
from budget_core.quota.record import ApiCall
from budget_core.quota.request import Outgoing, WatchedRequest
from budget_core.quota.watched import Watched
from budget_core.runtime.settings import checked_settings
from budget_core.runtime.waiting import DEFAULT_WAIT, default_wait


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
        self._wait = wait if on_limit == "wait" else 0.0
        self._board = Board()
        kept = resilient(ledger_from(ledger))
        self._watched = tuple(
            Watched(
                api,
                kept,
                environment=environment,
                observe=on_limit == "observe",
                learn=learn and on_limit != "observe",
                on_call=on_call,
                post=self._board.post,
            )
            for api in apis
        )

    def start(self) -> Self:
        """Begin to watch: every client of this process, those made earlier too. Twice is once."""
        http.begin(self._admitting)
        return self

    def stop(self) -> None:
        """End it; the last watch that ends takes the hooks out of the HTTP clients."""
        http.end(self._admitting)
        self._board.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def report(self) -> list[dict[str, Any]]:
        """Return for each API what was called, what is used, and what is left. JSON-ready."""
        return [watched.report() for watched in self._watched]

    def _admitting(self, outgoing: Outgoing, awaiting: bool) -> http.Admission | None:
        """Return a request to one of these APIs, and the seconds that it may wait."""
        claims = ((watched.api.covers(outgoing.parts), watched) for watched in self._watched)
        longest, watched = max(claims, key=lambda claim: claim[0], default=(0, None))
        if not longest or watched is None:
            return None
        wait = self._wait
        if wait is None:
            wait = DEFAULT_WAIT if awaiting else default_wait()
        return WatchedRequest(watched, outgoing), wait
