"""What can go wrong, in three layers: one ``except`` catches what belongs together.

::

    AgentBudgetError
    ├── CallRefused                     a call was refused before it was sent
    │   ├── BudgetExhausted             a limit would be broken
    │   │   ├── AnswerTruncated         the money paid for a part of an answer
    │   │   ├── SessionCancelled        the session's kill switch was pulled
    │   │   └── SessionFinalized        the last word was spent
    │   ├── QuotaExceeded               an API's quota is used up
    │   ├── LoopDetected                the same call again and again
    │   ├── UnknownModel (LookupError)  no price is known for a model
    │   ├── ModelNotAllowed             the house allows other models only
    │   ├── Unbounded                   the request's worst case cannot be bounded
    │   ├── AmbiguousBudget             several budgets are open, and nothing says whose a call is
    │   ├── RiskDetected                the text to be sent holds personal data or secrets
    │   ├── AnomalyDetected             a session behaves as it never did before
    │   └── LedgerUnavailable           the ledger did not answer
    └── ConfigurationError              a program says what cannot be, or in other words each time
        ├── InvalidBudget (ValueError)  an amount or a limit that cannot be read
        ├── InvalidCost (ValueError)    a cost that is negative, NaN or infinite
        ├── UnknownSetting (TypeError)  a setting that does not exist: a typo
        ├── AccountConflict             a name opened again with other limits
        ├── HoldConflict                a hold's id used again for something else
        └── GuardError                  an SDK cannot be guarded

Only `BudgetExhausted` may also come later: it ends a stream whose hold is used up, adapters raise
it in place of an answer that the money has cut, and `track` and `wrap` raise it for what is paid
already (see `AgentBudgetError.result`).

Every message says what happened, to which account, and what to do next.
Amounts are dollars (`float`) for the unit ``"usd"`` and counts for the others.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` would be most of what `import budget_core` takes
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = [
    "AccountConflict",
    "AgentBudgetError",
    "AmbiguousBudget",
    "AnomalyDetected",
    "AnswerTruncated",
    "BudgetExhausted",
    "CallRefused",
    "ConfigurationError",
    "GuardError",
    "HoldConflict",
    "InvalidBudget",
    "InvalidCost",
    "LedgerUnavailable",
    "LoopDetected",
    "ModelNotAllowed",
    "QuotaExceeded",
    "RiskDetected",
    "SessionCancelled",
    "SessionFinalized",
    "Unbounded",
    "UnknownModel",
    "UnknownSetting",
]


class AgentBudgetError(Exception):
    """Base of everything that this package raises on purpose.

    Attributes:
        result: what was already paid for, when the money was spent before the error could be
            raised (`BudgetSession.track`, `BudgetSession.wrap`), else None.
    """

    result: Any = None

    @classmethod
    def behind(cls, error: BaseException | None) -> Self | None:
        """Return the error of this kind for which another one was raised; None if there is none.

        For libraries that wrap what is raised below them (LiteLLM, instructor, tenacity).

        >>> try:
        ...     raise RuntimeError("no answer") from BudgetExhausted("no money")
        ... except RuntimeError as error:
        ...     print(BudgetExhausted.behind(error))
        no money
        """
        seen: list[BaseException] = []
        while error is not None and error not in seen:
            if isinstance(error, cls):
                return error
            seen.append(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return None

    def recast(self, mixin: type[BaseException] | None) -> Self:
        """Return this error, also an instance of `mixin`.

        Frameworks swallow or retry plain exceptions but let a control-flow class of their own
        pass (LangGraph's ``GraphBubbleUp``, CrewAI's ``HookAborted``). The result is caught
        both as the budget error and as the framework's class.
        """
        if mixin is None or isinstance(self, mixin):
            return self
        twin: Self = _rebuild(_mixed((type(self), mixin)), self.args, self.__dict__)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the plain error: a mixed class exists in one process only."""
        return _rebuild, (_plain(type(self)), self.args, self.__dict__)


class CallRefused(AgentBudgetError):
    """A call was refused before it was sent: it costs nothing (see `BudgetExhausted` for the rest).

    Sent again as it is, it is refused again, unless money, time or a person has changed something.
    """


class ConfigurationError(AgentBudgetError):
    """Something was written that cannot be what was meant: the program is at fault, no call."""


class BudgetExhausted(CallRefused):
    """The call would break a limit: it was refused before it was sent, or stopped mid-stream.

    Attributes:
        limit, spent, requested, remaining: in `unit`; dollars for ``"usd"``.
        unit: ``"usd"``, ``"tokens"``, ``"llm_calls"`` or ``"tool_calls"``.
        account: the account that refused (an ancestor's, if that was the tight one).
        session_id: the session in which the call was made.
        retry_after: seconds until a windowed limit has room again, else None.
    """

    def __init__(
        self,
        message: str = "The budget is exhausted.",
        *,
        limit: float | None = None,
        spent: float | None = None,
        requested: float | None = None,
        remaining: float | None = None,
        unit: str = "usd",
        account: str | None = None,
        session_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.spent = spent
        self.requested = requested
        self.remaining = remaining
        self.unit = unit
        self.account = account
        self.session_id = session_id
        self.retry_after = retry_after

    def carrying(self, result: Any) -> Self:
        """Attach what was already paid for, so that a caller can still use it."""
        self.result = result
        return self


class AnswerTruncated(BudgetExhausted):
    """An agent's answer was cut by the cap that the money pays for: it is paid, and no answer.

    Its `result` is what there is of it, where a framework shows it.

    Attributes:
        cap: the tokens at which it was cut.
    """

    def __init__(self, message: str, *, cap: int = 0, **details: Any) -> None:
        super().__init__(message, **details)
        self.cap = cap


class SessionCancelled(BudgetExhausted):
    """`BudgetSession.cancel` was called: every later reserve is refused."""


class SessionFinalized(BudgetExhausted):
    """The finalization reserve was spent on the last call: the session is over."""


class LoopDetected(CallRefused):
    """The same call, or the same short cycle of calls, was repeated `count` times.

    Attributes:
        key: what was repeated (a tool's or a model's name).
        count: how often.
        window: seconds within which it happened.
    """

    def __init__(self, key: str, count: int, window: float) -> None:
        super().__init__(
            f"{key!r} was called {count} times in a row with the same arguments within "
            f"{window:g} s. The call was refused. If this is no loop, raise "
            "max_repeated_calls or pass max_repeated_calls=None."
        )
        self.key = key
        self.count = count
        self.window = window


class InvalidBudget(ConfigurationError, ValueError):
    """An amount or a limit that cannot be read as one."""


class InvalidCost(ConfigurationError, ValueError):
    """A cost that is negative, not a number, or infinite."""


class UnknownSetting(ConfigurationError, TypeError):
    """A setting that does not exist was given, most likely a typo.

    Attributes:
        setting: as it was written.
        nearest: the one that was meant, as far as one can tell, else None.
    """

    def __init__(self, of: str, setting: str, known: Sequence[str]) -> None:
        from difflib import get_close_matches  # noqa: PLC0415  for this error alone

        self.setting = setting
        self.nearest = next(iter(get_close_matches(setting, known, 1)), None)
        hint = f"Did you mean {self.nearest!r}?" if self.nearest else f"It has {', '.join(known)}."
        super().__init__(f"{of} has no setting {setting!r}. {hint}")


class UnknownModel(CallRefused, LookupError):
    """No price is known for `model`: refused before the call, never counted as free."""

    def __init__(self, model: str, provider: str | None = None, what: str = "") -> None:
        where = f" of provider {provider!r}" if provider else ""
        super().__init__(
            f"No price is known for {what}model {model!r}{where}. Register it, in dollars per "
            f"million tokens: budget_core.register_model({model!r}, input_price_per_million=…, "
            "output_price_per_million=…), or pass unknown_model='allow' to let it run unpriced."
        )
        self.model = model
        self.provider = provider

    def __str__(self) -> str:  # LookupError subclasses print the repr of a lone argument
        return str(self.args[0])


class Unbounded(CallRefused):
    """The request holds something that no worst case covers (see `unbounded=`)."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The request uses {what}, whose cost cannot be bounded before the call. It was "
            "refused. Pass unbounded='allow' to let it run: it is then charged at its true cost, "
            "which may exceed what was held."
        )
        self.what = what


class AccountConflict(ConfigurationError):
    """The same account was opened again with other limits."""


class HoldConflict(ConfigurationError):
    """The id of a hold or charge was used again with another payload."""


class AmbiguousBudget(CallRefused):
    """Several budgets that know nothing of each other are open, and none claims this call.

    A plain thread inherits no context, so a call made in one has no payer of its own.

    Attributes:
        sessions: the ids of the sessions that are open.
    """

    def __init__(self, sessions: Sequence[str]) -> None:
        super().__init__(
            f"This call was made where no budget is in force, and {len(sessions)} are open in this "
            f"process ({', '.join(sessions)}). It was refused, as nothing says which one pays. "
            "Bind the thread: Thread(target=budget_core.bind(function)), "
            "executor.submit(budget_core.bind(function)); or make one budget for all: "
            "budget_core.init(..., scope='process')."
        )
        self.sessions = tuple(sessions)


class GuardError(ConfigurationError):
    """An SDK is not built as its guard knows it, so nothing would be enforced on its calls."""


class ModelNotAllowed(CallRefused):
    """A model was asked that is none of those that are allowed: nothing was sent.

    Attributes:
        model: which was asked.
        allowed: which may be.
    """

    def __init__(self, model: str, allowed: str) -> None:
        super().__init__(
            f"A call to {model!r} was refused: BUDGET_MODELS allows {allowed}. Ask one of these, "
            "or add it there."
        )
        self.model = model
        self.allowed = allowed


class QuotaExceeded(CallRefused):
    """An API's quota is used up, or the API said so itself: the request was not sent.

    Attributes:
        api: the API's name.
        limit: as it is written, "60 requests/minute"; what the API said, if it was that.
        retry_after: seconds until a request may fit, None if this one never will.
    """

    def __init__(self, api: str, limit: str, retry_after: float | None) -> None:
        after = (
            "It fits into no such window: send less at once, or raise the limit."
            if retry_after is None
            else f"Try again in {retry_after:,.1f} s, raise the limit, or let requests wait for "
            "it with on_limit='wait'."
        )
        super().__init__(f"A request to {api} was not sent: {limit}. {after}")
        self.api = api
        self.limit = limit
        self.retry_after = retry_after


class RiskDetected(CallRefused):
    """What was to be sent holds personal data or secrets (see `on_risk=`): it was not sent.

    Attributes:
        tags: what was found, as in "PII_EMAIL"; never the text.
        session_id: the session in which the call was made.
    """

    def __init__(self, tags: Sequence[str], session_id: str) -> None:
        super().__init__(
            f"A call of session {session_id!r} was refused: its prompt holds {', '.join(tags)}. "
            "Take that out of it, or pass on_risk='tag' to send it all the same."
        )
        self.tags = tuple(tags)
        self.session_id = session_id


class AnomalyDetected(CallRefused):
    """A session left its own baseline (see `on_anomaly=`), so its next calls are refused.

    Attributes:
        what: "spend_velocity", "context_growth", "retry_amplification" or "tool_repetition".
        value: what it came to.
        usual: what it had been in this session before.
        session_id: the session.
    """

    def __init__(self, what: str, value: float, usual: float, session_id: str) -> None:
        super().__init__(
            f"Calls of session {session_id!r} are refused: its {what.replace('_', ' ')} is "
            f"{value:,.6g}, and was {usual:,.6g} before. Look what it is doing; if that is well, "
            "session.accept_anomaly() lets it go on."
        )
        self.what = what
        self.value = value
        self.usual = usual
        self.session_id = session_id


class LedgerUnavailable(CallRefused):
    """The ledger did not answer, so nothing was allowed to be spent.

    Attributes:
        session_id: the session that asked, if known.
        reason: what the backend said.
    """

    def __init__(self, reason: str, session_id: str | None = None) -> None:
        super().__init__(f"The ledger is unavailable: {reason.rstrip('.')}. The call was refused.")
        self.reason = reason
        self.session_id = session_id

    def seen_by(self, session_id: str) -> Self:
        """Name the session that asked, unless it is known."""
        self.session_id = self.session_id or session_id
        return self


_kinds: dict[tuple[type[BaseException], ...], type[AgentBudgetError]] = {}


def _mixed(bases: tuple[type[BaseException], ...]) -> type[AgentBudgetError]:
    if (known := _kinds.get(bases)) is not None:
        return known
    space = {"__module__": bases[0].__module__, "_mixed": True}
    return _kinds.setdefault(bases, type(bases[0].__name__, bases, space))


def _plain(kind: type[BaseException]) -> type[BaseException]:
    return next(base for base in kind.__mro__ if "_mixed" not in base.__dict__)


def _rebuild(kind: type[AgentBudgetError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
