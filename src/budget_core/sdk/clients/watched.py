"""`watch_client`: a client whose calls are reported to a collector, and kept within budgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from budget_core.calls import context
from budget_core.errors import AgentBudgetError, BudgetExhausted
from budget_core.ledger import Ledger, MemoryLedger, ledger_from
from budget_core.ledger.resolve import ENVIRONMENT
from budget_core.ledger.shared import is_open
from budget_core.money.limits import Limit
from budget_core.money.usd import Money, parse_usd
from budget_core.runtime.background import asked
from budget_core.runtime.settings import check_settings
from budget_core.sdk.claims import Binding
from budget_core.sdk.clients.check import Check
from budget_core.sdk.clients.wrap import bound
from budget_core.session.budget import AgentBudget, declare
from budget_core.session.session import BudgetSession

if TYPE_CHECKING:
    from budget_core.calls.call import Call
    from budget_core.calls.request import CallRequest
    from budget_core.events import Listener
    from budget_core.sdk.clients.check import Standing

Client = TypeVar("Client")


def watch_client(
    client: Client,
    budget: Money | None = None,
    *,
    collector: str | None = None,
    api_key: str | None = None,
    enforce: bool = True,
    timeout: float = 2.0,
    on_exhausted: Callable[[BudgetExhausted], object] | None = None,
    session_id: str | None = None,
    **options: Any,
) -> Client:
    """Return a client whose calls are reported, and within budgets; the one given stays as it is.

    >>> client = watch_client(
    ...     openai.OpenAI(), "$2.00", team="growth", monthly="$500", collector="http://localhost:8320"
    ... )
    >>> client.session.spent
    0.0

    Each call is an event with its project, team, session, number, latency, tokens, cost and risks.
    They are posted in the background, from a bounded queue.

    Args:
        client: as `wrap_client` takes it.
        budget: what the session may spend; None for no limit of its own.
        collector: the URL of a ``budget collect``, which gets the events; with `enforce` it is also
            asked, before each call, for what others have spent in the name of the same session and
            team.
        api_key: the collector's.
        enforce: refuse what does not fit; else calls are only reported.
        timeout: seconds to wait for the collector's answer before a call.
        on_exhausted: see `wrap_client`.
        session_id: the session's; made up if None.
        **options: see `watched_session`.

    Raises:
        TypeError: no client of these SDKs.
        BudgetExhausted: from its calls: a budget does not allow it.
        LedgerUnavailable: from its calls, with ``fail_open=False``: the collector or the ledger
            does not answer.
        UnknownSetting: there is no such setting.
    """
    check_settings(options, watch_client, watched_session, AgentBudget)
    session = watched_session(
        budget,
        session_id=session_id,
        enforce=enforce,
        reporter=None if collector is None else _reporter(collector, api_key),
        check_url=None if collector is None else f"{collector.rstrip('/')}/v1/budget-check",
        api_key=api_key,
        timeout=timeout,
        **options,
    )
    return bound(client, Binding((session,), on_exhausted))


def watched_session(
    budget: Money | None = None,
    *,
    session_id: str | None = None,
    project: str | None = None,
    team: str | None = None,
    monthly: Money | None = None,
    enforce: bool = True,
    fail_open: bool = True,
    reporter: Listener | None = None,
    check_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 2.0,
    ledger: Ledger | str | None = None,
    kind: type[WatchedSession] | None = None,
    **options: Any,
) -> WatchedSession:
    """Open the session that pays for a watched client.

    Args:
        budget: what it may spend.
        session_id: its id; made up if None.
        project: in whose name it is reported.
        team: likewise; also the account ``team:…`` of the ledger, whose money it spends.
        monthly: what the team, or without one the project, may spend a month.
        enforce: refuse what does not fit.
        fail_open: let calls go on while the ledger, or the collector, does not answer.
        reporter: hears of every event.
        check_url: of a collector's budget check, which is asked before each call with `enforce`.
        api_key: the collector's.
        timeout: seconds to wait for the collector's answer.
        ledger: where the money is kept; as `AgentBudget` takes it. By default all watched clients
            of the process share one in memory.
        kind: what to make, in place of a `WatchedSession`.
        **options: everything else that `AgentBudget` takes.

    Raises:
        AccountConflict: the account of the team has other limits.
        UnknownSetting: there is no such setting.
    """
    check_settings(options, watched_session, AgentBudget)
    named = ledger is not None or os.environ.get(ENVIRONMENT)
    kept = ledger_from(ledger) if named else _in_this_process()
    labels = {"project": project, "team": team, "ledger": "shared" if kept.outlives else None}
    settings: dict[str, Any] = {
        "on_risk": "tag",
        "on_anomaly": "tag",
        "max_repeated_calls": None,  # a client is not an agent
        "on_unavailable": "open" if fail_open else "closed",
        "parent": context.current_session(),
    }
    if enforce and (team or monthly is not None):
        settings["parent"] = _shared_account(kept, team, project, monthly)
    if not enforce:
        settings |= {"mode": "observe", "unknown_model": "allow", "unbounded": "allow"}
    listeners: Sequence[Listener] = options.pop("listeners", ())
    opened = AgentBudget(
        budget,
        ledger=kept,
        update=True,
        labels={name: value for name, value in labels.items() if value},
        listeners=listeners if reporter is None else (*listeners, reporter),
        **{**settings, **options},
    ).session(session_id, kind=kind or WatchedSession)
    session = cast("WatchedSession", opened)
    if check_url is not None and enforce:
        session.check = Check(
            check_url,
            session.id,
            {"limit_usd": session.limit, "team": team},
            api_key=api_key,
            fail_open=fail_open,
            timeout=timeout,
        )
    return session


class WatchedSession(BudgetSession):
    """A session that asks a collector before each LLM call, if it has a `check`."""

    check: Check | None = None

    def open_call(self, request: CallRequest, **options: Any) -> Call:
        """Ask the collector, then do what every session does."""
        self._ask(request)
        return super().open_call(request, **options)

    async def open_call_async(self, request: CallRequest, **options: Any) -> Call:
        """Async version of `open_call`."""
        if self.check is not None:
            await asked(partial(self._ask, request), blocks=True)
        return await super().open_call_async(request, **options)

    def exceeded_by(self, standing: Standing) -> BudgetExhausted:
        """Return the error for a budget that is spent, as the collector says."""
        return BudgetExhausted(
            f"A call of session {self.id!r} was refused before it was sent: account "
            f"{standing.account!r} has spent ${standing.spent:,.4f} of ${standing.limit:,.4f}, as "
            "the collector says. Raise its limit, or use another session.",
            limit=standing.limit,
            spent=standing.spent,
            remaining=max(0.0, standing.limit - standing.spent),
            account=standing.account,
            session_id=self.id,
        )

    def _ask(self, request: CallRequest) -> None:
        if self.check is None or request.kind != "llm":
            return
        try:
            standing = self.check.standing()
        except AgentBudgetError as error:
            raise error.recast(request.mixin) from error.__cause__
        if standing is not None and standing.exceeded:
            exceeded = self.exceeded_by(standing)
            self._log.terminate("budget_exhausted")
            self.emit("refused", account=standing.account, unit="usd", name=request.model)
            raise exceeded.recast(request.mixin)


def _shared_account(
    ledger: Ledger, team: str | None, project: str | None, monthly: Money | None
) -> str:
    name = f"team:{team}" if team else f"project:{project}" if project else "monthly"
    if monthly is not None:
        declare(name, Limit("usd", parse_usd(monthly), "month"), ledger=ledger)
    elif not is_open(ledger, name):
        declare(name, ledger=ledger)
    return name


@cache
def _in_this_process() -> Ledger:
    return MemoryLedger()


@cache
def _reporter(collector: str, api_key: str | None) -> Listener:
    """Return what posts to a collector: one for all clients, so one queue and one thread."""
    from budget_core.events.ingest import Ingest  # noqa: PLC0415  an extra

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
    return Ingest(f"{collector.rstrip('/')}/v1/ingest", headers=headers)
