"""One run of the agent: with or without a budget, every call reported as it happens."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Literal, Protocol, TypeAlias

from langchain_core.messages import AIMessage
from langgraph.errors import GraphRecursionError

from budget_cli.demo.agent import QUESTION, research_agent
from budget_cli.demo.documents import shipped
from budget_cli.demo.researcher import Researcher
from budget_core import BudgetExhausted, BudgetSession
from budget_core.testing import Bill, Provider
from budget_langchain import BudgetMiddleware, LangChainBudgetCallback

Kind: TypeAlias = Literal["unbudgeted", "raise", "finalize"]
KINDS: Final[tuple[Kind, ...]] = ("unbudgeted", "raise", "finalize")
MOST_CALLS: Final = 24
"""Model calls after which the demo itself ends a run; two steps of the graph each."""
RESERVE: Final = 0.25
"""The share of the budget that is kept back for the last answer."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs share. `budget` in nanos; `pace` in seconds a call."""

    model: str
    budget: int
    real: bool = False
    pace: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A model call that was answered. Money in nanos; `total` is the run's so far."""

    number: int
    action: str
    tokens_in: int
    tokens_out: int
    cap: int | None
    cost: int
    total: int
    kept: int
    final: bool


@dataclass(slots=True)
class Outcome:
    """How a run ended. Money in nanos, None where it was not counted.

    Attributes:
        bill: what the provider charged, None for the real one.
        spent: what the session's report says, None without a session.
        ended: "answered", "budget exhausted" or "runaway, cut off".
        cut: the answer ended at its cap.
    """

    run: Kind
    bill: int | None = None
    spent: int | None = None
    ended: str = ""
    answer: str | None = None
    cut: bool = False
    seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def agree(self) -> bool | None:
        """The report and the bill name the same amount, to the nano; None if one is missing."""
        return None if self.bill is None or self.spent is None else self.bill == self.spent


class Audience(Protocol):
    """Who is told while a run goes on."""

    def began(self, run: Kind) -> None: ...

    def answered(self, run: Kind, step: Step) -> None: ...

    def refused(self, run: Kind, why: str) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


def run_agent(run: Kind, setting: Setting, audience: Audience) -> Outcome:
    outcome, began = Outcome(run), monotonic()
    audience.began(run)
    with ExitStack() as stack:
        provider = None if setting.real else stack.enter_context(_embedded(setting.pace))
        budgeted = _budgeted(run, setting)
        callback = stack.enter_context(budgeted) if budgeted else None
        session = callback.session if callback else None
        middleware = [BudgetMiddleware(callback=callback, on_exhausted="finalize")]
        agent = research_agent(
            setting.model,
            shipped(),
            middleware=middleware if run == "finalize" else (),
            **_client(provider),
        )
        watch = _Watch(outcome, audience, provider, session)
        try:
            for update in agent.stream(
                {"messages": [("user", QUESTION)]},
                {"callbacks": [callback] if callback else [], "recursion_limit": 2 * MOST_CALLS},
                stream_mode="updates",
            ):
                watch.see(update)
            outcome.ended = "answered"
        except GraphRecursionError:
            outcome.ended = "runaway, cut off"
        except BudgetExhausted:
            outcome.ended = "budget exhausted"
        watch.refusals()
    outcome.bill = provider.bill_nanos if provider else None
    outcome.spent = session.spent_nanos if session else None
    outcome.seconds = monotonic() - began
    audience.ended(outcome)
    return outcome


class _Watch:
    """Turns the graph's updates, the provider's bills and the session's events into steps."""

    def __init__(
        self,
        outcome: Outcome,
        audience: Audience,
        provider: Provider | None,
        session: BudgetSession | None,
    ) -> None:
        self.outcome = outcome
        self.audience = audience
        self.provider = provider
        self.session = session
        self._events = 0
        self._total = 0

    def see(self, update: dict[str, Any]) -> None:
        self.refusals()
        for change in update.values():
            for message in (change or {}).get("messages", ()):
                if isinstance(message, AIMessage):
                    self._answered(message)

    def refusals(self) -> None:
        events: Sequence[dict[str, Any]] = self.session.report()["events"] if self.session else ()
        for event in events[self._events :]:
            if event["type"] in ("refused", "stopped"):
                why = _why(event)
                self.outcome.refusals.append(why)
                self.audience.refused(self.outcome.run, why)
        self._events = len(events)

    def _answered(self, message: AIMessage) -> None:
        bills = self.provider.bills if self.provider else []
        bill = bills[-1] if bills else None
        total = self._paid()
        usage: Any = message.usage_metadata or {}
        step = Step(
            number=len(self.outcome.steps) + 1,
            action=_action(message),
            tokens_in=bill.input_tokens if bill else usage.get("input_tokens", 0),
            tokens_out=bill.output_tokens if bill else usage.get("output_tokens", 0),
            cap=_cap(bill),
            cost=total - self._total,
            total=total,
            kept=self.session.balance().kept_back.usd if self.session else 0,
            final=not message.tool_calls,
        )
        self._total = total
        if step.final:
            self.outcome.answer = str(message.text)
            self.outcome.cut = message.response_metadata.get("finish_reason") == "length"
        self.outcome.steps.append(step)
        self.audience.answered(self.outcome.run, step)

    def _paid(self) -> int:
        if self.provider is not None:
            return self.provider.bill_nanos
        return self.session.spent_nanos if self.session else 0


def _budgeted(run: Kind, setting: Setting) -> LangChainBudgetCallback | None:
    budget = setting.budget / 1e9
    if run == "finalize":
        return LangChainBudgetCallback(budget=budget, finalization_reserve=RESERVE)
    if run == "raise":
        return LangChainBudgetCallback(budget=budget)
    return LangChainBudgetCallback(budget=budget, mode="observe") if setting.real else None


@contextmanager
def _embedded(pace: float) -> Iterator[Provider]:
    """Serve the researcher on loopback, past any proxy that the environment names."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    os.environ.update(dict.fromkeys(before, "127.0.0.1"))
    try:
        with Provider().respond(Researcher(pace)) as provider:
            yield provider
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _client(provider: Provider | None) -> dict[str, Any]:
    if provider is None:
        return {}
    return {"base_url": provider.openai_url, "api_key": "embedded", "max_retries": 0}


def _cap(bill: Bill | None) -> int | None:
    return bill.output_cap if bill else None


def _action(message: AIMessage) -> str:
    if not message.tool_calls:
        return "answer"
    call = message.tool_calls[0]
    subject = next(iter(call["args"].values()), "")
    return f"{call['name'].partition('_')[0]} {subject}"


def _why(event: dict[str, Any]) -> str:
    if event["type"] == "stopped":
        return "stopped in mid-stream: what was held for it is spent"
    asked, left = event.get("requested"), event.get("remaining")
    return f"may cost ${asked:.4f}, and ${left:.4f} is left for ordinary calls"
