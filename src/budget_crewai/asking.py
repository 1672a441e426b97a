"""One call of an LLM, and whose money it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

from budget_core import AgentBudgetError, BudgetExhausted, BudgetSession
from budget_core.calls import context
from budget_core.calls.estimator import WRAP_UP_TOKENS
from budget_core.errors import SessionCancelled, SessionFinalized
from budget_core.frameworks import SPEECHLESS, LastWord
from budget_crewai import steps
from budget_crewai.errors import plain, stopping
from budget_crewai.last_word import ending, final_call
from budget_crewai.payer import Payer, role_of
from budget_crewai.requests import apart, request_of, said

if TYPE_CHECKING:
    from budget_core import CallRequest

_OPENING = 2
"""Messages with which a conversation begins: the agent's, and what it is asked."""


class Ask:
    """A call that an LLM is asked for.

    Args:
        payers: the budgets that watch, the innermost first.
        llm: that is asked.
        args, kwargs: what it is given.

    Attributes:
        session: in whose name it is held, once it is prepared.
        joining: further sessions whose money it is.
        request: what is asked.
        args, kwargs: as above.
    """

    session: BudgetSession
    joining: tuple[BudgetSession, ...]

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
        self._payer = payers[0]
        self._task = given.get("from_task") or step.task
        self._agent = given.get("from_agent") or step.agent
        self._inner = step.task is not None and given.get("from_task") is None
        beginning = repr(list(given.get("messages") or ())[:_OPENING])
        self._units = [(m, m.units.of(self._task, self._agent, beginning)) for m in payers]
        self._unit = self._units[0][1]
        self._limited = self._payer.limit_of(self._agent)
        self.request: CallRequest = request_of(llm, given, role_of(self._agent))

    @property
    def blocks(self) -> bool:
        """What `prepare` asks of a ledger may block on I/O."""
        return any(payer.session.blocks for payer, _ in self._units)

    @property
    def text(self) -> bool:
        """A text is asked for, and nothing in a form."""
        return self._given.get("response_model") is None

    # -- before the money is gone ------------------------------------------------------------

    @property
    def answer(self) -> Any:
        return self._unit.last_word if self._unit is not None and self._speaks else None

    def prepare(self) -> None:
        """Open what pays, and see to it that the agent's last word can be paid for after this."""
        self.session, *others = (unit.session if unit else m.session for m, unit in self._units)
        limits = [limit for m, _ in self._units for limit in m.limits_of(self._agent, self._task)]
        self.joining = (*others, *limits)
        if self._payer.on_exhausted == "raise" or self._unit is None or self.session.closed:
            return
        try:
            quote = self.session.estimator.quote(self._final_request(self._payer.wrap_up))
        except AgentBudgetError:
            return  # nor can the call itself be held, which tells it better
        amounts = quote.amounts(min(quote.most, WRAP_UP_TOKENS))
        self._payer.units.keep_back(self._unit, amounts)
        if self._limited is not None and not context.tool_sessions():
            self._limited.keep_back(amounts)

    # -- when it is gone ---------------------------------------------------------------------

    def last_word(self, error: BudgetExhausted) -> LastWord:
        """Return how the agent may end; raise the error if there is to be no last word."""
        own_limit = self._limited is not None and self._limited.owns(error)
        if own_limit and self._speaks and isinstance(error, SessionFinalized):
            # it has paid for a last word in an earlier task
            return LastWord(self.session, answer=self.said(SPEECHLESS))
        if not self._speaks or self._unit is None:
            raise error
        word = self._payer.last_word(error, self.session)
        return word._replace(session=self._limited) if self._limited and own_limit else word

    def final(self, word: LastWord) -> Ask:
        """Return what is asked for the last word."""
        final = copy(self)
        final.args, final.kwargs = final_call(self.args, self.kwargs, word.wrap_up)
        final.request = self._final_request(word.wrap_up)
        if word.session is not self.session:
            final.session, final.joining = word.session, (self.session, *self.joining)
        return final

    def said(self, answer: Any) -> Any:
        word = ending(answer, has_tools=bool(self._given.get("tools")))
        if self._unit is not None:
            self._unit.last_word = word
        return word

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Give what is refused inside the form that CrewAI is to see."""
        try:
            yield
        except AgentBudgetError as error:
            raise self._refusal(error) from None

    @property
    def _speaks(self) -> bool:
        """It is an agent's own step, whose answer may be its last word.

        What a program makes sense of is none: a plan that is called as a function, what memory
        makes of a text, a guardrail's opinion.
        """
        if self._payer.on_exhausted == "raise" or self._given.get("available_functions"):
            return False
        return self._given.get("from_agent") is not None and not self._inner

    def _refusal(self, error: AgentBudgetError) -> AgentBudgetError:
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

    def _final_request(self, wrap_up: str) -> CallRequest:
        args, kwargs = final_call(self.args, self.kwargs, wrap_up)
        request = request_of(self._llm, said(args, kwargs), self.request.agent)
        return request._replace(fingerprint=None)


def ask(llm: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Ask | None:
    """Return the call that an LLM is asked for; None if it has no payer of its own."""
    payers = Payer.all_active()
    if not payers or context.enclosing_calls():
        return None
    return Ask(payers, llm, args, kwargs)
