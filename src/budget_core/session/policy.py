"""What a session does at its limits: the settings that a budget hands to its sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from budget_core.errors import InvalidBudget
from budget_core.events import Listener, callable_listener
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limits
from budget_core.money.usd import Money, parse_usd

_log = logging.getLogger("budget_core")

Report: TypeAlias = dict[str, Any]
Reserve: TypeAlias = Money | Literal["auto"]
"""A fraction of the limits (a float below 1), an amount ("$0.10"), or "auto"."""


class TopUp(NamedTuple):
    """What `on_hard_limit` returns to approve more money and let the call go on."""

    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings of a session; see `AgentBudget` for what each means."""

    soft_limit: float | None = 0.9
    warning_thresholds: tuple[float, ...] = (30, 80, 95)
    on_soft_limit: Callable[[Report], object] | None = None
    on_hard_limit: Callable[[Report], TopUp | object] | None = None
    on_loop_detected: Callable[[Report], object] | None = None
    on_warning: Callable[[Report], object] | None = None
    on_truncated: Callable[[Report], object] | None = None
    max_repeated_calls: int | None = 10
    loop_window_seconds: float = 60.0
    finalization_reserve: Reserve = 0
    mode: Literal["enforce", "observe"] = "enforce"
    unknown_model: Literal["refuse", "allow"] = "refuse"
    unbounded: Literal["refuse", "allow"] = "refuse"
    costs: Literal["table", "provider"] = "table"
    on_broken: Literal["written", "hold"] = "written"
    wait: float | None = None
    on_unavailable: Literal["closed", "open"] = "closed"
    on_risk: Literal["tag", "refuse"] | None = None
    risk_detectors: tuple[Callable[[str], Iterable[str]], ...] = ()
    on_anomaly: Literal["tag", "refuse"] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, ("enforce", "observe"))
        _one_of("unknown_model", self.unknown_model, ("refuse", "allow"))
        _one_of("unbounded", self.unbounded, ("refuse", "allow"))
        _one_of("costs", self.costs, ("table", "provider"))
        _one_of("on_broken", self.on_broken, ("written", "hold"))
        _one_of("on_unavailable", self.on_unavailable, ("closed", "open"))
        _one_of("on_risk", self.on_risk, ("tag", "refuse", None))
        _one_of("on_anomaly", self.on_anomaly, ("tag", "refuse", None))
        if self.soft_limit is not None and not 0 < self.soft_limit <= 1:
            raise InvalidBudget(f"soft_limit= is a fraction of the limit; got {self.soft_limit!r}.")
        if any(not 0 < mark <= 100 for mark in self.warning_thresholds):  # noqa: PLR2004
            raise InvalidBudget(
                f"warning_thresholds= are percentages, 0 to 100; got {self.warning_thresholds!r}."
            )
        if self.max_repeated_calls is not None and self.max_repeated_calls < 2:  # noqa: PLR2004
            raise InvalidBudget(
                "max_repeated_calls= must be 2 or more, or None to switch loop detection off; "
                f"got {self.max_repeated_calls!r}."
            )
        reserve_for(self.finalization_reserve, Limits.of(1))
        for listener in self.listeners:
            callable_listener(listener)

    @property
    def allows_unpriced(self) -> bool:
        """Models without a price may run."""
        return self.mode == "observe" or self.unknown_model == "allow"

    @property
    def allows_unbounded(self) -> bool:
        """What has no worst case may run."""
        return self.mode == "observe" or self.unbounded == "allow"

    def but(self, **settings: Any) -> Policy:
        """Return these settings with others among them; these very ones if none differ."""
        differ = any(getattr(self, name) != value for name, value in settings.items())
        return replace(self, **settings) if differ else self

    def marks(self) -> Sequence[tuple[float, str]]:
        """Return the shares of a limit at which callbacks are told, with the kind of event."""
        marks = [(mark / 100, "warning") for mark in self.warning_thresholds]
        if self.soft_limit is not None:
            marks.append((self.soft_limit, "soft_limit"))
        return sorted(marks)


def reserve_for(reserve: Reserve, limits: Limits) -> Amounts:
    """Return what an account with `limits` keeps back for its last call.

    A fraction is taken of the dollars and of the tokens; where calls are limited, one LLM call is
    kept back with it. "auto" starts at nothing and grows with the context.

    Raises:
        InvalidBudget: it is neither a fraction, nor an amount, nor "auto".
    """
    calls = min(1, limits.lifelong("llm_calls") or 0)
    usd, tokens = limits.lifelong("usd") or 0, limits.lifelong("tokens") or 0
    if reserve == "auto":
        return Amounts(llm_calls=calls)
    if isinstance(reserve, float) and 0 < reserve < 1:
        return Amounts(int(usd * reserve), int(tokens * reserve), calls)
    if isinstance(reserve, float) and reserve >= 1:
        raise InvalidBudget(
            f"finalization_reserve={reserve!r} would keep back the whole limit: write a fraction "
            "below 1, an amount such as '$0.10', or 'auto'."
        )
    amount = parse_usd(reserve)
    return Amounts(min(amount, usd), 0, calls) if amount else ZERO


def _one_of(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        raise InvalidBudget(f"{name}= is one of {', '.join(map(repr, known))}; got {value!r}.")
