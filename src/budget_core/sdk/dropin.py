"""Drop-in mode: one line, and every SDK call from there on is paid for by a budget.

>>> import budget_core
>>> session = budget_core.init("$5.00")
>>> ...  # openai.OpenAI().chat.completions.create(...): held before it is sent, settled after
>>> budget_core.spent()
0.0
>>> budget_core.teardown()["budget"]
5.0

Who pays for a call: the session that was opened last in the context in which it is made, and the
sessions around that one. Tasks inherit their context, plain threads and pools do not: there, the
one budget that is open pays. If several are open that know nothing of each other, the call is
refused (`AmbiguousBudget`), until the function is bound (`bind`) or there is one budget for the
whole process (``scope="process"``).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import wraps
from threading import RLock
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast

import budget_core.calls.context as contexts
from budget_core.errors import AmbiguousBudget, ConfigurationError, InvalidBudget
from budget_core.money.limits import Limit, Limits
from budget_core.money.usd import Money
from budget_core.runtime.finalizers import collecting, later
from budget_core.runtime.plugins import asking
from budget_core.runtime.settings import check_settings
from budget_core.runtime.signals import pass_on
from budget_core.sdk.claims import unclaimed
from budget_core.sdk.installing import GuardLease
from budget_core.session.budget import AgentBudget
from budget_core.session.policy import Policy, Report
from budget_core.session.session import BudgetSession

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("budget_core")
_open: Final[dict[BudgetSession, ExitStack]] = {}
"""The sessions in force, and what ends each."""
_one_process = RLock()


class DropInSession(BudgetSession):
    """A session of `init`: closing it, at the end of a ``with`` block too, is its `teardown`."""

    def close(self) -> None:
        """End the session, and the drop-in mode with it (see `teardown`)."""
        if collecting():
            later(self.close)
        elif not _ended(self):
            super().close()


def init(
    budget: Money | Limit | AgentBudget | None = "$5.00",
    *,
    scope: Literal["context", "process"] = "context",
    name: str | None = None,
    agents: Mapping[str, Money] | None = None,
    **options: Any,
) -> BudgetSession:
    """Put a budget on every call of the OpenAI, Anthropic and Google SDKs made from here on.

    It holds for clients that exist already and for SDKs that are imported later, in this context
    (thread or task) and in the tasks that it starts. Inside another budget it is a part of that.

    >>> with budget_core.init("$1.00", agents={"researcher": "$0.40"}) as session:
    ...     ...  # torn down at the end of the block; without ``with``, by `teardown`
    >>> session.report()["total_spent"]
    0.0

    Args:
        budget: dollars: "$5.00", "5", 5, 5.0 or Decimal("5"); a `Limit`, an `AgentBudget`, or
            None for no limit in dollars.
        scope: "context", or "process" for one budget for all: it pays in every thread for what
            nobody else does, and budgets that are opened in any of them become a part of it.
        name: the session's id; made up if None.
        agents: dollars that each agent may spend of it, by the agent's name, in frameworks that
            name their agents (LangChain, CrewAI, those of plugins), imported already or later.
        **options: everything else that `AgentBudget` takes.

    Returns:
        The session; it is closed by `teardown`.

    Raises:
        InvalidBudget, UnknownSetting, AccountConflict: as they say; nothing is in force then.
        GuardError: an SDK is not built as its guard knows it. Nothing is in force then.
    """
    check_settings(options, init, Policy if isinstance(budget, AgentBudget) else AgentBudget)
    if scope not in ("context", "process"):
        raise InvalidBudget(f"scope= is 'context' or 'process'; got {scope!r}.")
    for amount in (agents or {}).values():
        Limits.of(amount)  # raises here, not where an adapter that sleeps as yet applies them
    if not isinstance(budget, AgentBudget):
        budget, options = AgentBudget(budget, **options), {}
    with ExitStack() as ending:
        ending.callback(GuardLease().release)
        # the second of two threads that do this at once has to find the first one's session
        with _one_process if scope == "process" else nullcontext():
            session = budget.session(name, kind=DropInSession, **options)
            _enforce(session, ending, everywhere=scope == "process")
        _watch(session, dict(agents or {}), ending)
        _open[session] = ending.pop_all()
    return session


def teardown(session: BudgetSession | None = None) -> Report | None:
    """End a session of `init`, and take the guards out of the SDKs with the last one.

    Those that were opened inside it, in this context, end with it. One that another thread or task
    opened inside it stays there, but has no money left: its calls are refused until it is torn
    down where it was opened.

    Args:
        session: the one to end, from any thread or task; by default the innermost of this context.

    Returns:
        Its final report (see `BudgetSession.report`); None if there is none to end.
    """
    last = next(_inside(None), None) if session is None else session
    if last is None and _open:
        _log.warning(
            "teardown() was called where no session of init() is in force; open elsewhere: %s. "
            "To end one of them, pass it: teardown(session).",
            ", ".join(session.id for session in tuple(_open)),
        )
    return last.report() if last is not None and _ended(last) else None


def get_session() -> BudgetSession | None:
    """Return the session that pays here: the innermost of `init` in this context, if there is one.

    Else the one that pays for an SDK call made here; None if there is none, or no single one.
    """
    try:
        return _paying()
    except AmbiguousBudget:
        return None


def spent() -> float:
    """Return the dollars that `get_session` has spent, its children included.

    Raises:
        ConfigurationError: there is no session here.
        AmbiguousBudget: several are open that know nothing of each other, none of them here.
    """
    return _required().spent


def remaining() -> float | None:
    """Return the dollars that `get_session` has neither spent nor held; None if not limited.

    Raises:
        ConfigurationError, AmbiguousBudget: as `spent`.
    """
    return _required().remaining


def report() -> Report:
    """Return the report of `get_session` (see `BudgetSession.report`), JSON-ready.

    Raises:
        ConfigurationError, AmbiguousBudget: as `spent`.
    """
    return _required().report()


def track(
    result: T = None,  # type: ignore[assignment]
    cost: Money = 0,
    tool_name: str = "tool",
    *,
    arguments: Any = None,
) -> T:
    """Record in `get_session` what a tool cost, in dollars, after the fact; return `result`.

    Raises:
        BudgetExhausted: this brought the spend over the limit. It is recorded all the same, and
            the error carries `result`.
        LoopDetected: likewise, for the same `arguments` again and again.
        ConfigurationError, AmbiguousBudget: as `spent`.
    """
    return _required().track(result, cost=cost, tool_name=tool_name, arguments=arguments)


def bind(function: Callable[P, T], session: BudgetSession | None = None) -> Callable[P, T]:
    """Let a function run with this context's budgets wherever it is called.

    For threads and pools, which inherit nothing; it may run many times at once.

    >>> pool.submit(budget_core.bind(ask), "Why is the sea salt?")
    >>> threading.Thread(target=budget_core.bind(work)).start()
    >>> await loop.run_in_executor(None, budget_core.bind(work))

    Args:
        function: a function or a coroutine function, and so is what is returned.
        session: the one session to run with, in place of this context's.

    Raises:
        TypeError: it is a generator function, whose body runs where it is read: bind that.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"bind() takes a function or a coroutine function. The body of {function!r} runs "
            "where it is iterated over: bind the function that does so."
        )
    to = contexts.bindings() if session is None else contexts.Bindings((session,), (session,))

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with contexts.bound(to):
            return function(*args, **kwargs)

    @wraps(function)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        with contexts.bound(to):
            return await cast("Any", function(*args, **kwargs))

    return cast("Callable[P, T]", run_async) if inspect.iscoroutinefunction(function) else run


def _enforce(session: BudgetSession, ending: ExitStack, *, everywhere: bool) -> None:
    """Put a new session in force, here and for what no session claims elsewhere."""
    ending.callback(BudgetSession.close, session)
    ending.callback(contexts.leave, session)
    contexts.enter(session)
    ending.callback(contexts.unguard, session, everywhere=True)
    contexts.guard(session)
    ending.callback(contexts.withdraw, session)
    contexts.offer(session, everywhere=everywhere)


def _watch(session: BudgetSession, agents: Mapping[str, Money], ending: ExitStack) -> None:
    request = DropinRequest(session, agents)
    watching = asking.every("budget_dropin", request, sound=callable)
    for end in watching:
        ending.callback(_quietly, end)
    if agents and not watching:
        _log.warning(
            "The limits of agents= (%s) are not applied: no framework that names its agents could "
            "be joined. The budget itself holds. Run: pip install 'budget-suite[langchain]' (or "
            "[crewai]), or install the plugin of your framework.",
            ", ".join(agents),
        )


def _quietly(end: Callable[[], object]) -> None:
    try:
        end()
    except Exception as error:  # noqa: BLE001  whatever a plugin may raise
        pass_on(error)
        _log.exception("An adapter of drop-in mode failed to end")


def _ended(session: BudgetSession) -> bool:
    """End a session and those inside it; False if it had ended."""
    ending = _open.pop(session, None)
    if ending is None:
        return False
    with ending:
        for inner in _inside(session):
            _ended(inner)
    return True


def _inside(session: BudgetSession | None) -> Iterator[BudgetSession]:
    """Return this context's sessions of `init` that lie within `session`, innermost first."""
    for inner in reversed(contexts.bindings().claiming):
        if inner in _open and (session is None or session in inner.lineage):
            yield inner


def _paying() -> BudgetSession | None:
    claiming = contexts.guarded()
    mine = (session for session in reversed(claiming) if session in _open)
    return next(mine, claiming[-1] if claiming else None) or unclaimed()


def _required() -> BudgetSession:
    session = _paying()
    if session is None:
        raise ConfigurationError(
            "No budget is in force here. Call budget_core.init('$5.00') first; in a thread, bind "
            "its function: Thread(target=budget_core.bind(function))."
        )
    return session


@dataclass(frozen=True, slots=True)
class DropinRequest:
    """Which session `init` opened, and what each agent may spend of it: dollars by its name."""

    session: BudgetSession
    agents: Mapping[str, Money]
