"""Asking a collector before a call whether a session, or its team, has spent its budget."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import Future
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request

from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.events.http import opener
from budget_core.runtime.signals import pass_on

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger("budget_core")

_PAUSE: Final = 10.0
"""Seconds for which a collector that did not answer is not asked again, where calls may go on."""
_LONGEST: Final = 65_536


def default_collector() -> str:
    """Return the collector that BUDGET_COLLECTOR names, else the one of this machine."""
    return os.environ.get("BUDGET_COLLECTOR") or "http://127.0.0.1:8320"


class Standing(NamedTuple):
    """What a collector knows of a budget, in dollars."""

    exceeded: bool
    spent: float
    limit: float
    account: str


class Check:
    """Asks a collector's ``/v1/budget-check``. Thread-safe.

    Args:
        url: of the check.
        session_id: whose budget is asked for.
        asked: further parameters, such as ``limit_usd`` and ``team``.
        api_key: sent as a bearer token.
        fail_open: let calls go on while the collector does not answer.
        timeout: seconds to wait for it.

    Raises:
        InvalidBudget: the URL is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        session_id: str,
        asked: Mapping[str, Any],
        *,
        api_key: str | None,
        fail_open: bool,
        timeout: float,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidBudget(f"The collector's URL is to be 'https://…' or 'http://…': {url!r}.")
        given = {name: value for name, value in asked.items() if value is not None}
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        query = urlencode({"session_id": session_id, **given})
        self._request = Request(f"{url}?{query}", headers=headers)  # noqa: S310  http, as checked
        self._opener = opener()
        self._session_id, self._fail_open, self._timeout = session_id, fail_open, timeout
        self._lock = Lock()
        self._not_before = 0.0

    def standing(self) -> Standing | None:
        """Return what the collector knows; None if it does not answer and calls may go on.

        Raises:
            LedgerUnavailable: it does not answer, and calls may not.
        """
        if self._fail_open and monotonic() < self._not_before:
            return None
        try:
            return self._ask()
        except Exception as error:  # whatever answers there may be no collector
            pass_on(error)
            reason = _reason(error)
            if not self._fail_open:
                raise LedgerUnavailable(reason, self._session_id) from error
        with self._lock:
            first, self._not_before = monotonic() >= self._not_before, monotonic() + _PAUSE
        if first:
            _log.warning("The budget check does not answer (%s); calls go on without", reason)
        return None

    def _ask(self) -> Standing:
        """Ask in a thread: nothing else bounds the time that it takes to find a host.

        Raises:
            TimeoutError: there is no whole answer in time.
            Exception: whatever else went wrong.
        """
        answer: Future[Standing] = Future()
        Thread(target=self._fetch, args=(answer,), name="budget-check", daemon=True).start()
        return answer.result(self._timeout)

    def _fetch(self, answer: Future[Standing]) -> None:
        try:
            with self._opener.open(self._request, timeout=self._timeout) as response:
                answer.set_result(_read(response.read(_LONGEST)))
        except Exception as error:  # noqa: BLE001  as above
            if isinstance(error, HTTPError):
                error.close()
            answer.set_exception(error)


def _read(body: bytes) -> Standing:
    told = json.loads(body)
    if not isinstance(told["exceeded"], bool):
        raise TypeError("exceeded is true or false")
    return Standing(
        exceeded=told["exceeded"],
        spent=float(told.get("spent_usd") or 0.0),
        limit=float(told.get("limit_usd") or 0.0),
        account=str(told.get("account") or ""),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the budget check did not answer in time"
    if isinstance(error, HTTPError):
        return f"the budget check answered {error.code}"
    if isinstance(error, URLError):
        return f"the budget check cannot be reached: {error.reason}"
    return f"the budget check failed: {type(error).__name__}"
