"""What AgentWatch's SDK (`aw-sdk`) documents, enforced by this package.

>>> from budget_compat.agentwatch import WatchedOpenAI
>>> client = WatchedOpenAI(agentwatch_api_key="…", agentwatch_session_budget_usd=2.00)

docs/migrating.md lists what is different.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import openai

from budget_core.errors import BudgetExhausted, LedgerUnavailable
from budget_core.events import Event
from budget_core.events.sender import Sender
from budget_core.sdk.claims import Binding
from budget_core.sdk.clients.check import default_collector
from budget_core.sdk.clients.stainless import CopiedClient
from budget_core.sdk.clients.watched import WatchedSession, watched_session
from budget_core.sdk.clients.wrap import bound
from budget_core.session.screening.risk import analyze_text

if TYPE_CHECKING:
    from budget_core.calls.call import Call
    from budget_core.calls.payer import PaidCall
    from budget_core.calls.request import CallRequest
    from budget_core.ledger.reservation import Refusal
    from budget_core.sdk.clients.check import Standing

__all__ = [
    "AgentBudgetCheckUnavailable",
    "AgentBudgetExceeded",
    "WatchedOpenAI",
    "analyze_text",
    "wrap",
]

Client = TypeVar("Client")


class AgentBudgetExceeded(BudgetExhausted):
    """A session has exceeded its budget, or would; `spent` and `limit` are in dollars."""


class AgentBudgetCheckUnavailable(LedgerUnavailable):
    """The budget check does not answer, and calls may not go on without it."""


class WatchedOpenAI(CopiedClient, openai.OpenAI):
    """`openai.OpenAI` whose calls are reported, and kept within budgets.

    Args:
        agentwatch_api_key: the collector's key.
        agentwatch_project, agentwatch_team: in whose name calls are reported.
        agentwatch_session_id: made up if None.
        agentwatch_session_budget_usd: what the session may spend, in dollars.
        agentwatch_monthly_budget_usd: what the team, or without one the project, may spend a month.
        agentwatch_enforcement_mode: refuse what does not fit; else calls are only reported.
        agentwatch_enforcement_fail_open: let calls go on while the collector does not answer.
        ingest_url: where to report; by default ``/v1/ingest`` of what BUDGET_COLLECTOR names, else
            of a ``budget collect`` on this machine.
        timeout_seconds: to wait for the collector's answer.
        **options: the client's own.
    """

    def __init__(
        self,
        *args: Any,
        agentwatch_api_key: str | None = None,
        _budget_binding: Binding | None = None,
        **options: Any,
    ) -> None:
        ours = {name: options.pop(name) for name in _SETTINGS if name in options}
        if _budget_binding is None:
            if agentwatch_api_key is None:
                raise TypeError("WatchedOpenAI() is missing agentwatch_api_key=.")
            _budget_binding = _binding(agentwatch_api_key, **ours)
        super().__init__(*args, _budget_binding=_budget_binding, **options)


def wrap(openai_client: Client, *, agentwatch_api_key: str, **options: Any) -> Client:
    """Return a watched copy of an OpenAI client, sync or async.

    Args:
        openai_client: it stays as it is.
        agentwatch_api_key: see `WatchedOpenAI`.
        **options: those of `WatchedOpenAI` that are not the client's own.
    """
    return bound(openai_client, _binding(agentwatch_api_key, **options))


def _binding(
    agentwatch_api_key: str,
    *,
    agentwatch_project: str | None = None,
    agentwatch_team: str | None = None,
    agentwatch_session_id: str | None = None,
    agentwatch_session_budget_usd: float | None = None,
    agentwatch_monthly_budget_usd: float | None = None,
    agentwatch_enforcement_mode: bool = False,
    agentwatch_enforcement_fail_open: bool = True,
    ingest_url: str | None = None,
    timeout_seconds: float = 2.0,
) -> Binding:
    url = ingest_url or f"{default_collector()}/v1/ingest"
    session = watched_session(
        agentwatch_session_budget_usd,
        session_id=agentwatch_session_id,
        project=agentwatch_project,
        team=agentwatch_team,
        monthly=agentwatch_monthly_budget_usd,
        enforce=agentwatch_enforcement_mode,
        fail_open=agentwatch_enforcement_fail_open,
        reporter=_telemetry(url, agentwatch_api_key, timeout_seconds),
        check_url=f"{url.rpartition('/')[0]}/budget-check",
        api_key=agentwatch_api_key,
        timeout=timeout_seconds,
        kind=_Session,
    )
    return Binding((session,))


_SETTINGS: Final = frozenset(signature(_binding).parameters) - {"agentwatch_api_key"}


class _Session(WatchedSession):
    """A session that raises this library's errors."""

    def open_call(self, request: CallRequest, **options: Any) -> Call:
        with _renaming():
            return super().open_call(request, **options)

    async def open_call_async(self, request: CallRequest, **options: Any) -> Call:
        with _renaming():
            return await super().open_call_async(request, **options)

    def refused(self, refusal: Refusal, request: CallRequest) -> BudgetExhausted:
        return _exceeded(super().refused(refusal, request))

    def stopped(self, call: PaidCall) -> BudgetExhausted:
        return _exceeded(super().stopped(call)).recast(call.request.mixin)

    def exceeded_by(self, standing: Standing) -> BudgetExhausted:
        return _exceeded(super().exceeded_by(standing))


@contextmanager
def _renaming() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        raise AgentBudgetCheckUnavailable(error.reason, error.session_id) from error.__cause__


def _exceeded(error: BudgetExhausted) -> AgentBudgetExceeded:
    twin = AgentBudgetExceeded(*error.args)
    twin.__dict__.update(error.__dict__)
    return twin


class _Telemetry(Sender):
    """Posts one call after the other, as this library does."""

    def __call__(self, event: Event) -> None:
        told = event.data
        if event.kind != "call" or told["kind"] != "llm":
            return
        usage = told["usage"]
        self.put(
            {
                "model": told["name"],
                "latency_ms": round(told["seconds"] * 1000),
                "prompt_tokens": usage.input if usage is not None else 0,
                "completion_tokens": usage.output if usage is not None else 0,
                "cost_usd": told["cost"],
                "identified_risks": told["risks"],
                "session_id": event.session_id,
                "iteration_index": told["iteration"],
                "timestamp": event.at,
                **{name: told[name] for name in ("project", "team", "ledger") if name in told},
            }
        )


@cache
def _telemetry(url: str, api_key: str, timeout: float) -> _Telemetry:
    headers = {"Authorization": f"Bearer {api_key}"}
    shape: Any = itemgetter(0)
    return _Telemetry(
        url, headers=headers, batch=1, interval=0, buffer=1024, timeout=timeout, shape=shape
    )
