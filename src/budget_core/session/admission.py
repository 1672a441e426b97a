"""What may be sent at all: loops, what prompts hold, anomalies, and what plugins allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any

from budget_core.calls import context
from budget_core.calls.loops import LoopWatch, Pending
from budget_core.calls.payer import Admitted
from budget_core.errors import AgentBudgetError, CallRefused, LoopDetected
from budget_core.runtime.plugins import asking

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall
    from budget_core.calls.request import CallRequest
    from budget_core.session.log import SessionLog
    from budget_core.session.policy import Policy
    from budget_core.session.screening.screening import Screening
    from budget_core.session.standing import Standing


@dataclass(frozen=True, slots=True)
class ReserveRequest:
    """Which call is about to be held, and in which `BudgetSession`."""

    session: Any
    call: CallRequest


class Admission:
    """Looks at each call of a session before it is held, and at each that has ended.

    Args:
        policy: the session's.
        standing: its account, which is opened when it is used.
        log: where refusals are recorded.
        flying: returns the fingerprints of the calls in flight.
    """

    def __init__(
        self,
        policy: Policy,
        standing: Standing,
        log: SessionLog,
        flying: Callable[[], list[Any]],
    ) -> None:
        self._policy = policy
        self._standing = standing
        self._log = log
        self._flying = flying
        self._loops = LoopWatch(policy.max_repeated_calls, policy.loop_window_seconds)
        self._lock = RLock()  # reentrant: a finalizer may run in here
        self.screening: Screening | None = _screening(policy, log)

    def admit(self, request: CallRequest) -> Admitted:
        """Return what may be sent: risks, loops and plugins are asked."""
        if not self._standing.started:
            self._standing.start()
        risks = () if self.screening is None else self._screened(self.screening, request)
        pending: LoopDetected | Pending | None = None
        if request.fingerprint is not None and not context.here().wanted:
            inside: str | None = None
            for call in context.here().calls:
                if call.kind == "tool" and not call.over:
                    inside = call.id
            with self._lock:
                pending = self._loops.note(request, self._flying(), inside)
            if isinstance(pending, LoopDetected):
                self._refuse_loop(pending)
        if asking.heard.get("budget_reserve") != ():
            request = self._allowed(request)
        return tuple.__new__(Admitted, (request, risks, pending))

    def repeated(self, request: CallRequest) -> None:
        """Look for a loop in what was recorded.

        Raises:
            LoopDetected: it is one.
        """
        inside = [call.id for call in context.open_calls() if call.kind == "tool"]
        with self._lock:
            noted = self._loops.note(request, [], *inside[-1:])
        if isinstance(noted, LoopDetected):
            self._refuse_loop(noted)

    def ended(self, call: PaidCall) -> None:
        if self.screening is not None and self._policy.on_anomaly:
            self.screening.settled(call)

    def released(self, call: PaidCall) -> None:
        if self.screening is not None and self._policy.on_anomaly:
            self.screening.failed(call)

    def answered(self, call: PaidCall, read: Callable[[], Any]) -> None:
        """Search an answer for risks, if the policy says so; its tags are added to the call's.

        Args:
            call: about to be settled.
            read: returns the answer, JSON-like.
        """
        if self.screening is not None and self._policy.on_risk is not None:
            self.screening.answer(call, read())

    def accept_anomaly(self) -> None:
        if self.screening is not None:
            self.screening.accept()
        self._log.terminated_by = None

    def _screened(self, screening: Screening, request: CallRequest) -> tuple[str, ...]:
        if (anomaly := screening.refusing()) is not None:
            self._log.terminated_by = "anomaly"
            raise anomaly
        if self._policy.on_risk is None or request.prompt is None:
            return ()
        return screening.prompt(request.model, request.prompt)

    def _refuse_loop(self, error: LoopDetected) -> None:
        self._log.emit("loop_detected", key=error.key, count=error.count, window=error.window)
        self._log.ask(self._policy.on_loop_detected)
        if self._policy.mode == "enforce":
            self._log.terminated_by = "loop_detected"
            raise error

    def _allowed(self, request: CallRequest) -> CallRequest:
        """Return a call as plugins allow it: capped by the least that any of them says."""
        asked = ReserveRequest(self._log.session(), request)
        try:
            caps = asking.every("budget_reserve", asked, sound=_is_cap, passing=AgentBudgetError)
            return _capped(request, caps)
        except AgentBudgetError as error:
            self._log.emit(
                "refused",
                reason=type(error).__name__,
                name=request.name or request.model,
                kind=request.kind,
                provider=request.provider,
            )
            raise


def _capped(request: CallRequest, caps: list[int]) -> CallRequest:
    if request.output_cap is not None:
        caps.append(request.output_cap)
    if request.kind == "tool" or not caps or (cap := min(caps)) == request.output_cap:
        return request
    if cap < request.least:
        raise CallRefused(
            f"A call to {request.model!r} was refused: a plugin allows an answer of {cap} tokens, "
            f"and as it is asked for it takes {request.least}. Ask it to think less."
        )
    return request._replace(output_cap=cap)


def _is_cap(answer: Any) -> bool:
    return type(answer) is int and answer > 0


def _screening(policy: Policy, log: SessionLog) -> Screening | None:
    if policy.on_risk is None and policy.on_anomaly is None:
        return None
    from budget_core.session.screening.screening import (  # noqa: PLC0415  patterns to compile
        Screening,
    )

    return Screening(policy, log)
