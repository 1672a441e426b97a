"""One call of an LLM, and whose money it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from budget_core import AgentBudgetError, BudgetExhausted, BudgetSession
from budget_core.calls import context
from budget_core.calls.estimator import WRAP_UP_TOKENS
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.frameworks.last_word import may_finalize
from budget_crewai import active, steps
from budget_crewai.errors import plain, stopping
from budget_crewai.last_word import final_call, spoken
from budget_crewai.payer import Payer, role_of
from budget_crewai.requests import apart, request_of, said

if TYPE_CHECKING:
    from budget_core import CallRequest

_OPENING = 2
"""Messages with which a conversation begins: the agent's, and what it is asked."""


class Ask:
    """A call that an LLM is asked for.

    Args:
        payers: the budgets that watch, the innermost last.
        llm: that is asked.
        args, kwargs: what it is given.

    Attributes:
        session: in whose name it is held.
        joining: further sessions whose money it is.
        request: what is asked.
        args, kwargs: as above.
    """

    def __init__(
        self,
        payers: Sequence[Payer],
        llm: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        step, given = steps.current(), said(args, kwargs)
        self.args, self.kwargs = apart(args, kwargs)
        self._given = given
        self._llm = llm
        self._payer = payers[-1]
        self._task = given.get("from_task") or step.task
        self._agent = given.get("from_agent") or step.agent
        self._inner = step.task is not None and given.get("from_task") is None
        beginning = repr(list(given.get("messages") or ())[:_OPENING])
        units = [m.units.of(self._task, self._agent, beginning) for m in payers]
        self._unit = units[-1]
        paying = [u.session if u else m.session for m, u in zip(payers, units, strict=True)]
        self._limited = self._payer.limit_of(self._agent)
        limits = [limit for m in payers for limit in m.limits_of(self._agent, self._task)]
        self.session: BudgetSession = paying[-1]
        self.joining: tuple[BudgetSession, ...] = (*paying[:-1], *limits)
        self.request: CallRequest = request_of(llm, given, role_of(self._agent))

    # -- before the money is gone ------------------------------------------------------------

    @property
    def answer(self) -> Any:
        """What an agent has said already for the last time; None if it has not."""
        return self._unit.last_word if self._unit is not None and self._speaks else None

    def keep_back(self) -> None:
        """See to it that the agent's last word can be paid for after this call."""
        if self._payer.on_exhausted == "raise" or self._unit is None or self._unit.session.closed:
            return
        try:
            quote = self.session.estimator.quote(self._final_request())
        except AgentBudgetError:
            return  # nor can the call itself be held, which tells it better
        amounts = quote.amounts(min(quote.most, WRAP_UP_TOKENS))
        self._payer.units.keep_back(self._unit, amounts)
        if self._limited is not None and not context.tool_sessions():
            self._limited.ledger.keep_back(self._limited.id, amounts)

    # -- when it is gone ---------------------------------------------------------------------

    @contextmanager
    def last_word(self, error: AgentBudgetError) -> Iterator[Ask]:
        """Let the reserve pay for what is asked inside, if it may; else raise the error."""
        if not isinstance(error, BudgetExhausted) or not self._may_speak(error):
            raise self._refusal(error) from None
        final = Ask.__new__(Ask)
        final.__dict__.update(self.__dict__)
        final.args, final.kwargs = final_call(self.args, self.kwargs, self._payer.wrap_up)
        final.request = self._final_request()
        if self._limited is not None and error.account == self._limited.id:
            final.session, final.joining = self._limited, (self.session, *self.joining)
        try:
            with final.session.finalize():
                yield final
        except BudgetExhausted:
            raise self._refusal(error) from None

    def is_silent(self, error: AgentBudgetError) -> bool:
        """Tell whether the agent's own limit has paid for its last word in an earlier task."""
        limit = self._limited.id if self._limited is not None else None
        return isinstance(error, SessionFinalized) and error.account == limit and self._speaks

    def said(self, answer: Any) -> Any:
        """Keep the last word, and return it as one that ends the agent."""
        word = spoken(answer, has_tools=bool(self._given.get("tools")))
        if self._unit is not None:
            self._unit.last_word = word
        return word

    @property
    def _speaks(self) -> bool:
        """It is an agent's own step, whose answer may be its last word.

        What a program makes sense of is none: a plan that is called as a function, what memory
        makes of a text, a guardrail's opinion.
        """
        if self._payer.on_exhausted == "raise" or self._given.get("available_functions"):
            return False
        return self._given.get("from_agent") is not None and not self._inner

    def _may_speak(self, error: BudgetExhausted) -> bool:
        if not self._speaks or self._unit is None:
            return False
        return may_finalize(self.session, error)

    def _refusal(self, error: AgentBudgetError) -> AgentBudgetError:
        """Return the error as CrewAI is to take it, with what the crew has done so far."""
        outputs = self._unit.run.outputs if self._unit is not None else ()
        if outputs and error.result is None:
            error.result = list(outputs)
        works_around = (
            self._payer.on_exhausted == "finalize"
            and isinstance(error, BudgetExhausted)
            and not isinstance(error, SessionCancelled)
            and not context.tool_sessions()
            and (self._given.get("from_agent") is None or self._given.get("available_functions"))
            and self._given.get("response_model") is None  # CrewAI would make an error of its own
        )
        return plain(error) if works_around else stopping(error)

    def _final_request(self) -> CallRequest:
        args, kwargs = final_call(self.args, self.kwargs, self._payer.wrap_up)
        request = request_of(self._llm, said(args, kwargs), self.request.agent)
        return request._replace(fingerprint=None)


def ask(llm: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Ask | None:
    """Return the call that an LLM is asked for; None if nobody pays, or a call around it does."""
    payers = active.payers()
    if not payers or context.enclosing_calls():
        return None
    return Ask(payers, llm, args, kwargs)
