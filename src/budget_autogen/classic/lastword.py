"""How a chat ends when the money is gone: with one agent's last word, and then silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from budget_autogen.classic.paying import Reply, replies
from budget_core import BudgetExhausted, scope
from budget_core.errors import SessionFinalized
from budget_core.lastword import SPEECHLESS

if TYPE_CHECKING:
    from budget_autogen.payers import Payers
    from budget_core import BudgetSession

_ended: ContextVar[frozenset[str]] = ContextVar("budget_autogen_ended", default=frozenset())
"""The sessions whose last word was said in the chat of this context."""


def is_over(payers: Payers | None, *, chatting: bool = True) -> bool:
    """Tell whether the last word was said, so that nobody whom these pay for says any more.

    Args:
        payers: of an agent; nobody's agent is never over.
        chatting: it is asked by another agent. Asked by a program, it may always try.
    """
    if payers is None or not payers.trackers:
        return False
    sessions = (payers.session, *payers.joining)
    if chatting and any(session.id in _ended.get() for session in sessions):
        return True
    return any(one.finalized for session in sessions for one in session.lineage)


def end(payers: Payers) -> None:
    """Let the chat of this context end."""
    _ended.set(_ended.get() | {payers.session.id})


def begin(payers: Payers) -> None:
    """Let a chat begin: what was said in one before is no matter."""
    if payers.trackers and payers.session.id in _ended.get():
        _ended.set(_ended.get() - {payers.session.id})


@contextmanager
def noting_refusal(agent: Any, messages: list[Any]) -> Iterator[None]:
    """Keep what a model was to be asked, if the budget refuses it: the last word begins there."""
    context = messages[-1].get("context") if messages else None
    try:
        yield
    except BudgetExhausted as error:
        reply = next(reversed(replies()), None)
        if reply is not None and reply.agent is agent:
            system = agent._oai_system_message  # noqa: SLF001
            reply.refused, reply.context = error, context
            reply.asked = tuple(messages[len(system) :])
        raise


def last_word(
    reply: Reply, payers: Payers, error: BudgetExhausted, messages: Any, sender: Any
) -> str | None:
    """Return what an agent says at last, None if another one has had the last word meanwhile.

    An agent whose reply is a part of another one's, in a nested chat, leaves the last word to
    that one, if they spend the same session.

    Args:
        reply: that cannot be paid for.
        payers: whose.
        error: why.
        messages: that it is a reply to.
        sender: from whom.

    Raises:
        BudgetExhausted: `error`, if there is no last word or not even that can be paid for.
    """
    if isinstance(error, SessionFinalized) and _is_silent(payers):
        return None
    if not speaks(reply.agent, payers) or _is_inner(reply, payers.session):
        raise error
    tracker = payers.trackers[0]
    if callable(tracker.on_exhausted):
        if payers.session in scope.tool_sessions():
            raise error
        return _text(tracker.on_exhausted(error))
    session = payers.to_finalize(error)
    asked = reply.asked if reply.refused is error else messages
    ask = {"role": "user", "content": tracker.wrap_up}
    if reply.refused is error and reply.context:
        ask["context"] = reply.context
    with session.finalize():
        try:
            _, said = reply.agent.generate_oai_reply([*asked, ask], sender)
        except BudgetExhausted:
            raise error from None
    return _spoken(said)


def speaks(agent: Any, payers: Payers) -> bool:
    """Tell whether an agent can say a last word: with its model, or by what a program says."""
    if not payers.speaks or not payers.trackers:
        return False
    how = payers.trackers[0].on_exhausted
    return callable(how) or (how != "raise" and agent.client is not None)


def _is_silent(payers: Payers) -> bool:
    """Tell whether another one had the last word, after which nobody is to raise."""
    return is_over(payers) and payers.trackers[0].on_exhausted != "raise"


def _is_inner(reply: Reply, session: BudgetSession) -> bool:
    """Tell whether this reply is a part of one that spends the same and can say the last word."""
    return any(
        speaks(outer.agent, outer.agent.payers) and outer.agent.payers.session is session
        for outer in replies()
        if outer is not reply
    )


def _spoken(said: Any) -> str:
    """Leave out calls of tools: nobody will answer them."""
    content = said.get("content") if isinstance(said, dict) else said
    return content if isinstance(content, str) and content else SPEECHLESS


def _text(said: object) -> str:
    if not isinstance(said, str):
        raise TypeError(f"on_exhausted returns the text of the final message; got {said!r}")
    return said
