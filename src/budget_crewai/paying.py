"""Holding a call before an LLM makes it, and settling it afterwards."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from budget_core import AgentBudgetError
from budget_core.calls.outcomes import handled
from budget_core.frameworks import failed, finish, spoken, spoken_sync, unread, whole
from budget_core.frameworks.outcomes import unsent
from budget_core.money.usage import Receipt, Usage
from budget_core.runtime.background import asked
from budget_crewai.errors import stopping

if TYPE_CHECKING:
    from budget_core import Call
    from budget_core.frameworks import LastWord
    from budget_crewai.asking import Ask

_paid: ContextVar[Paid | None] = ContextVar("budget_crewai_paid", default=None)


class Paid:
    """A call that is being made, and what CrewAI says that it used."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._usage: Usage | None = None
        self._stopped = False

    def add(self, usage: Usage) -> None:
        """Record the usage of a request that was made for the call."""
        before = self._usage or Usage()
        self._usage = Usage(*map(sum, zip(before, usage, strict=True)))

    def hear(self, chunk: str) -> None:
        """Meter a stream that no SDK's guard meters; raises when its hold is spent."""
        if not self.call.claimed:
            try:
                self.call.meter(chunk)
            except AgentBudgetError:
                self._stopped = True
                raise

    def finish(self, answer: Any, *, text: bool) -> Any:
        """End the call with its answer, of which a part says something too if it is a `text`."""
        shown = answer if isinstance(answer, str) else repr(answer)
        finish(self.call, Receipt(self._usage), [shown])
        return whole(self.call, answer, text=text and isinstance(answer, str))

    def fail(self, error: BaseException, before: int, sdk: str | None) -> None:
        """End the call with an error: free if that proves that nothing was billed."""
        if self._usage is not None:
            self.call.finish(self._usage)
        elif self._stopped:
            # CrewAI leaves the stream open, and the provider writes on, until it is collected
            clear_frames(error.__traceback__)
            gc.collect()
            self.call.finish()
        elif _denied(error):
            self.call.abort()
        else:
            failed(self.call, error, before, sdk=sdk)


def pay(ask: Ask, function: Callable[..., Any], sdk: str | None = None) -> Any:
    """Make a call of an LLM, and its agent's last one in place of one that cannot be paid for.

    Args:
        ask: what is asked.
        function: asks it.
        sdk: by which alone it is sent (see `sender_of`).
    """
    if (said := ask.answer) is not None:
        return said

    def make(word: LastWord | None) -> Any:
        this = ask if word is None else ask.final(word)
        call = this.session.open_call(this.request, joining=this.joining)
        with _paying(call, sdk) as paid:
            answer = paid.finish(function(*this.args, **this.kwargs), text=this.text)
        return answer if word is None else ask.said(answer)

    with ask.refusing():
        ask.prepare()
        return spoken_sync(make, ask.last_word)


async def pay_async(ask: Ask, function: Callable[..., Any], sdk: str | None = None) -> Any:
    """Async version of `pay`."""
    if (said := ask.answer) is not None:
        return said

    async def make(word: LastWord | None) -> Any:
        this = ask if word is None else ask.final(word)
        call = await this.session.open_call_async(this.request, joining=this.joining)
        with _paying(call, sdk) as paid:
            answer = paid.finish(await function(*this.args, **this.kwargs), text=this.text)
        return answer if word is None else ask.said(answer)

    with ask.refusing():
        await asked(ask.prepare, blocks=ask.blocks)
        return await spoken(make, ask.last_word)


def track_usage(usage: Any) -> None:
    """Record what CrewAI says that a request used (``BaseLLM`` tracks it)."""
    from crewai.types.usage_metrics import UsageMetrics  # noqa: PLC0415  loaded by now

    paid = _paid.get()
    known = UsageMetrics.from_provider_dict(usage) if paid is not None else None
    if paid is not None and known is not None and known.prompt_tokens + known.completion_tokens > 0:
        cached = min(known.cached_prompt_tokens, known.prompt_tokens)
        written = min(known.cache_creation_tokens, known.prompt_tokens - cached)
        output = max(known.completion_tokens, known.total_tokens - known.prompt_tokens)
        paid.add(Usage(known.prompt_tokens, output, cached, written, known.reasoning_tokens))


def hear(chunk: str) -> None:
    """Meter a piece of a stream."""
    if chunk and (paid := _paid.get()) is not None:
        paid.hear(chunk)


@contextmanager
def _paying(call: Call, sdk: str | None) -> Iterator[Paid]:
    with unsent(call):
        paid, before, outer = Paid(call), handled(), _paid.get()
        _paid.set(paid)
    try:
        yield paid
    except BaseException as error:
        paid.fail(error, before, sdk)
        if not isinstance(error, AgentBudgetError):
            # some clients make an error of their own of ours
            for cause in _causes(error, before):
                if isinstance(cause, AgentBudgetError):
                    raise stopping(cause) from None
            if isinstance(error, Exception):
                unread(call, error)
        raise
    finally:
        _paid.set(outer)


def _causes(error: BaseException, before: int) -> list[BaseException]:
    """Return an error and those it was raised for, up to what was being handled before."""
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and id(current) != before and current not in causes:
        causes.append(current)
        current = current.__cause__ or current.__context__
    return causes


def _denied(error: BaseException) -> bool:
    """Return whether a hook of the program's own refused the call before it was sent."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not isinstance(error, AgentBudgetError) and bool(
        kinds & {"HookAborted", "LLMCallBlockedError"}
    )
