"""`AgentBudget`: an amount of money for a unit of work, and what to do when it runs low."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from budget_core.calls import context
from budget_core.errors import InvalidBudget
from budget_core.events import Listener
from budget_core.ledger import Account, Balance, Ledger, ledger_from
from budget_core.ledger.resilient.ledger import resilient
from budget_core.money.limits import Limit, Limits
from budget_core.money.usd import Money, to_usd
from budget_core.runtime.settings import check_settings, checked_settings
from budget_core.session.policy import Policy, Report, Reserve, TopUp
from budget_core.session.session import BudgetSession

AMBIENT: Final = "ambient"
"""What `parent=` says for the session that is entered in the context."""


@checked_settings
class AgentBudget:
    """A spending limit, from which sessions are opened.

    >>> budget = AgentBudget("$5.00", soft_limit=0.9)
    >>> with budget.session() as session:
    ...     result = session.track("found it", cost=0.01, tool_name="search")
    >>> session.spent
    0.01

    Args:
        max_spend: dollars a session may spend: "$5.00", "5", 5, 5.0 or Decimal("5"); per window:
            "$20/day", "$1/rolling min", "$500/month in Europe/Berlin"; or several of these, and
            of "100 calls/hour" or "2M tokens/day", in a list. None leaves dollars unlimited.
        soft_limit: the share of the limit at which `on_soft_limit` hears of it; None for never.
        max_repeated_calls: identical calls of one agent in sequence, within
            `loop_window_seconds`, that make a loop; None switches loop detection off.
        loop_window_seconds: see there.
        on_soft_limit, on_hard_limit, on_loop_detected: called with the report. `on_hard_limit`
            may return ``TopUp("$2")`` to approve more; it is asked once a crossing.
        on_warning, warning_thresholds: called once at each percentage, with a dict of threshold,
            spent, remaining and budget.
        on_truncated: called when an answer was cut by the cap that the money pays for, with a dict
            of session_id, name (the model's), agent, provider, cap and output (tokens), and final
            (it is the last word).
        finalization_reserve: kept back for the last call: a fraction (0.05), an amount ("$0.10"),
            or "auto", what one more call on the present context would cost.
        tokens, llm_calls, tool_calls: further limits of a session.
        mode: "enforce", or "observe" to record and tell but never refuse.
        unknown_model: "refuse" a model without a price, or "allow" it, recorded as unpriced.
        unbounded: "refuse" what has no worst case (media by URL, tools that run at the provider,
            stored conversations), or "allow" it.
        costs: settle by the "table" of prices, or by what the "provider" itself says an answer came
            to, where it does: OpenRouter, Vercel, xAI and Perplexity in the usage, a LiteLLM proxy
            in a header. What is held is the table's in any case.
        on_broken: charge an answer that was broken off (a stream that is left, a cancelled task, a
            lost connection) what can have been "written" by then, or its whole "hold".
        wait: seconds a call may wait for others to end when money is short; by default 30, and 0
            in synchronous code inside an event loop.
        listeners: each is called with every `Event` of a session and of its children; see
            `budget_core.events`.
        webhook_url: where warnings, limits and loops are posted with the report, in the
            background; see `budget_core.events.webhook`.
        webhook_secret: signs what is posted.
        on_unavailable: while the ledger does not answer, "closed" refuses calls, and "open" lets
            them go on within what was last known to be left: others may spend the same money.
        on_risk: "tag" prompts that hold personal data or secrets (`analyze_text`) in events, or
            "refuse" them; None does not look.
        risk_detectors: further functions that return the tags of a text.
        on_anomaly: tell ("tag") when the session's spend velocity, context growth, failures or
            repetition of tools leaves its own baseline, or "refuse" its next calls; None does not
            look.
        labels: added to every event of the session, as in ``{"project": "crawler"}``.
        ledger: a `Ledger`, a URL such as "sqlite:///budgets.db" or "redis://localhost/0", or None
            for what BUDGET_LEDGER names, else one in memory.
        parent: the session whose money this is, or the name of an account in the ledger that
            several share ("team:growth", see `declare`). By default the session entered in this
            context, if any; None for none.
        update: let these limits replace those of a session of that name that the ledger knows.

    Raises:
        InvalidBudget: an amount, a limit or a choice cannot be read.
        UnknownSetting: there is no such setting.
    """

    def __init__(
        self,
        max_spend: Money | Limit | Sequence[Money | Limit] | None = None,
        soft_limit: float | None = 0.9,
        max_repeated_calls: int | None = 10,
        loop_window_seconds: float = 60.0,
        on_soft_limit: Callable[[Report], object] | None = None,
        on_hard_limit: Callable[[Report], TopUp | object] | None = None,
        on_loop_detected: Callable[[Report], object] | None = None,
        *,
        finalization_reserve: Reserve = 0,
        on_warning: Callable[[Report], object] | None = None,
        warning_thresholds: Sequence[float] = (30, 80, 95),
        on_truncated: Callable[[Report], object] | None = None,
        tokens: int | None = None,
        llm_calls: int | None = None,
        tool_calls: int | None = None,
        mode: Literal["enforce", "observe"] = "enforce",
        unknown_model: Literal["refuse", "allow"] = "refuse",
        unbounded: Literal["refuse", "allow"] = "refuse",
        costs: Literal["table", "provider"] = "table",
        on_broken: Literal["written", "hold"] = "written",
        wait: float | None = None,
        on_unavailable: Literal["closed", "open"] = "closed",
        on_risk: Literal["tag", "refuse"] | None = None,
        risk_detectors: Sequence[Callable[[str], Iterable[str]]] = (),
        on_anomaly: Literal["tag", "refuse"] | None = None,
        labels: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        ledger: Ledger | str | None = None,
        parent: BudgetSession | str | None = AMBIENT,
        update: bool = False,
    ) -> None:
        self.limits = Limits.of(
            *limits_of(max_spend),
            tokens=tokens,
            llm_calls=llm_calls,
            tool_calls=tool_calls,
        )
        self.policy = Policy(
            soft_limit=soft_limit,
            warning_thresholds=tuple(warning_thresholds),
            on_soft_limit=on_soft_limit,
            on_hard_limit=on_hard_limit,
            on_loop_detected=on_loop_detected,
            on_warning=on_warning,
            on_truncated=on_truncated,
            max_repeated_calls=max_repeated_calls,
            loop_window_seconds=loop_window_seconds,
            finalization_reserve=finalization_reserve,
            mode=mode,
            unknown_model=unknown_model,
            unbounded=unbounded,
            costs=costs,
            on_broken=on_broken,
            wait=wait,
            on_unavailable=on_unavailable,
            on_risk=on_risk,
            risk_detectors=tuple(risk_detectors),
            on_anomaly=on_anomaly,
            labels=dict(labels or {}),
            listeners=(*listeners, *_webhooks(webhook_url, webhook_secret)),
        )
        self._parent = parent
        self._update = update
        self._ledger = None if ledger is None else resilient(ledger_from(ledger))
        self._own_ledger: Ledger | None = self._ledger

    @property
    def max_spend(self) -> float | None:
        """The limit of a session in dollars, None if there is none."""
        usd = self.limits.lifelong("usd")
        return None if usd is None else to_usd(usd)

    def session(
        self,
        name: str | None = None,
        *,
        kind: type[BudgetSession] = BudgetSession,
        **policy: Any,
    ) -> BudgetSession:
        """Open a session with this budget.

        Args:
            name: its id; the same name goes on where it left off. Made up if None.
            kind: what to make, for adapters that have a class of their own.
            **policy: settings that differ from the budget's.

        Raises:
            UnknownSetting: there is no such setting.
            AccountConflict: the name is known with other limits.
        """
        check_settings(policy, AgentBudget.session, Policy)
        above = context.current_session() if self._parent == AMBIENT else self._parent
        parent = None if isinstance(above, str) else above
        settings = replace(self.policy, **policy) if policy else self.policy
        return kind(
            ledger=self._ledger_under(parent),
            limits=self.limits,
            policy=settings,
            name=name,
            parent=parent,
            under=above if isinstance(above, str) else None,
            update=self._update,
        )

    async_session = session
    """The same: a session works with ``with`` and with ``async with``."""

    def _ledger_under(self, parent: BudgetSession | None) -> Ledger:
        if self._ledger is None and parent is not None:
            return parent.ledger
        self._own_ledger = self._own_ledger or resilient(ledger_from(None))
        return self._own_ledger

    def __repr__(self) -> str:
        return f"AgentBudget({', '.join(map(str, self.limits.every)) or 'unlimited'})"


def declare(
    name: str,
    *limits: Money | Limit,
    ledger: Ledger | str | None = None,
    parent: str | None = None,
    tokens: int | None = None,
    llm_calls: int | None = None,
    tool_calls: int | None = None,
    update: bool = False,
) -> Balance:
    """Declare an account that sessions share by its name (``AgentBudget(parent=name)``).

    It stays open until it is cancelled. Declaring it again in the same way changes nothing.

    >>> from budget_core import MemoryLedger
    >>> shared = MemoryLedger()
    >>> declare("team:growth", "$500/month", "$50/day", ledger=shared).spent.usd
    0

    Args:
        name: by which it is known in the ledger.
        *limits: such as "$500/month", "2M tokens/day", "$9000".
        ledger: as `AgentBudget` takes it.
        parent: the account whose money it is.
        tokens: a limit for its life.
        llm_calls: likewise.
        tool_calls: likewise.
        update: let these limits replace those that it has.

    Raises:
        AccountConflict: it exists with other limits and `update` is not set.
        BudgetExhausted: never; InvalidBudget: the limits cannot be read, or there is no `parent`.
    """
    every = Limits.of(*limits, tokens=tokens, llm_calls=llm_calls, tool_calls=tool_calls)
    account = Account(name, parent, every, lasts="standing")
    where = ledger_from(ledger)
    if where is not ledger and not where.outlives:
        raise InvalidBudget(
            f"{name!r} would be declared in a new ledger in memory, which only this call has. Name "
            "one that is shared: ledger='sqlite:///budgets.db', a Ledger object, or BUDGET_LEDGER."
        )
    try:
        answer = where.open(account, update=update)
    except KeyError:
        raise InvalidBudget(f"There is no account {parent!r} to put {name!r} under.") from None
    assert isinstance(answer, Balance)  # noqa: S101  nothing is set aside, so nothing is refused
    return answer


def limits_of(value: Money | Limit | Sequence[Money | Limit] | None) -> Sequence[Money | Limit]:
    """Return the limits that `max_spend=` names: none, one, or several."""
    if value is None:
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    return (value,)


def _webhooks(url: str | None, secret: str | None) -> Sequence[Listener]:
    if url is None:
        return ()
    from budget_core.events.webhook import webhook  # noqa: PLC0415  an extra

    return (webhook(url, secret),)
