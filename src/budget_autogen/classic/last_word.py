"""How a chat ends when the money is gone: with one agent's last word, and then silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from budget_autogen.classic.paying import ChatPayers, Reply, payers_of, replies
from budget_core import BudgetExhausted
from budget_core.frameworks import SPEECHLESS, LastWord

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker
    from budget_core import BudgetSession

_ended: ContextVar[frozenset[str]] = ContextVar("budget_autogen_ended", default=frozenset())
"""The accounts whose last word was said in the chat of this context."""


def is_over(payers: ChatPayers | None, *, chatting: bool = True) -> bool:
    """Return whether the last word was said, after which no agent that these pay for speaks.

    Args:
        payers: of an agent; one without any is never over.
        chatting: it is asked by another agent. Asked by a program, it may always try.
    """
    if payers is None or not payers.trackers:
        return False
    sessions = (payers.session, *payers.joining)
    if chatting and any(session.account in _ended.get() for session in sessions):
        return True
    return any(one.finalized for session in sessions for one in session.lineage)


def end(session: BudgetSession) -> None:
    """Let all whom a session pays for be silent for the rest of this context's chat."""
    _ended.set(_ended.get() | {session.account})


def begin(payers: ChatPayers) -> None:
    """Let a chat begin: what was said in one before is no matter."""
    if ended := _ended.get():
        _ended.set(ended - {payers.session_for(tracker).account for tracker in payers.trackers})


@contextmanager
def noting_refusal(agent: Any, messages: list[Any]) -> Iterator[None]:
    """Keep what a model was to be asked, if the budget refuses it: the last word begins there."""
    context = messages[-1].get("context") if messages else None
    try:
        yield
    except BudgetExhausted as error:
        reply = next(reversed(replies.get()), None)
        if reply is not None and reply.agent is agent:
            system = agent._oai_system_message  # noqa: SLF001
            reply.refused, reply.context = error, context
            reply.asked = tuple(messages[len(system) :])
        raise


def last_word(reply: Reply, payers: ChatPayers, error: BudgetExhausted) -> LastWord:
    """Return how an agent may end whose reply cannot be paid for.

    An agent whose reply is a part of another one's, in a nested chat, leaves the last word to
    that one, if they spend the same session.

    Raises:
        BudgetExhausted: `error`, if there is no last word.
    """
    if not payers.trackers:
        raise error
    tracker, session = payers.refused_by(error)
    if not _speaks(reply.agent, tracker) or _is_inner(reply, session):
        raise error
    reply.ended, reply.refusal = session, error
    return tracker.last_word(error, session)


def say(reply: Reply, word: LastWord, messages: Any, sender: Any) -> str | None:
    """Ask the model once more, from the reserve and without tools.

    Returns:
        what it said; None if another agent has had the last word meanwhile.

    Raises:
        BudgetExhausted: not even that can be paid for.
    """
    ask = {"role": "user", "content": word.wrap_up}
    if reply.refused is reply.refusal:
        messages = reply.asked
        if reply.context:
            ask["context"] = reply.context
    try:
        _, said = reply.agent.generate_oai_reply([*messages, ask], sender)
    except BudgetExhausted:
        if word.session.last_word_taken:  # another one was quicker
            return None
        raise
    return _spoken(said)


def is_silent(payers: ChatPayers) -> bool:
    """Return whether another agent had the last word, after which no other one raises."""
    return is_over(payers) and payers.trackers[0].on_exhausted != "raise"


def _speaks(agent: Any, tracker: AutoGenBudgetTracker) -> bool:
    """Return whether an agent can say a last word: with its model, or by what a program says."""
    how, payers = tracker.on_exhausted, payers_of(agent)
    able = callable(how) or (how != "raise" and agent.client is not None)
    return payers is not None and payers.speaks and able


def _is_inner(reply: Reply, session: BudgetSession) -> bool:
    """Return whether this reply is a part of one that spends the same and can say the last word."""
    return any(
        payers is not None and payers.session_for(tracker) is session and _speaks(agent, tracker)
        for agent, payers in (
            (one.agent, payers_of(one.agent)) for one in replies.get() if one is not reply
        )
        for tracker in (payers.trackers if payers is not None else ())
    )


def _spoken(said: Any) -> str:
    """Leave out calls of tools: they will not be answered."""
    content = said.get("content") if isinstance(said, dict) else said
    return content if isinstance(content, str) and content else SPEECHLESS
