"""Attaching: an agent or a group chat gets a class derived from its own, and who pays for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from autogen import ConversableAgent, GroupChat, GroupChatManager
from autogen.agentchat.group.patterns.pattern import Pattern

from budget_autogen.classic.paying import ChatPayers, payers_of
from budget_autogen.paying import PAYERS, Trackers, derived

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker

K = TypeVar("K", bound=type)


def attach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    """Let a tracker pay for an agent, a group chat, a manager or a pattern, and for all in it.

    The recipients of nested chats are taken in unless they have a budget of their own: what
    they do in such a chat is paid for by the agent in whose reply it happens, too.

    Raises:
        TypeError: it is something else of AutoGen's.
    """
    if not isinstance(target, ConversableAgent | GroupChat | Pattern):
        raise TypeError(
            "A tracker attaches to agents, group chats, managers and patterns of AutoGen; "
            f"got {target!r}."
        )
    take_in(tracker, target)


def detach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    for one in _reached(target, partial(_is_free, tracker)):
        with _changing:
            if (payers := payers_of(one)) is not None:
                payers.remove(tracker)
                _release(one, payers)


def take_in(tracker: AutoGenBudgetTracker, target: Any) -> None:
    for one in _reached(target, partial(_is_free, tracker)):
        with _changing:
            _payers(one).add(tracker)
    tracker.guard()


def share(trackers: Trackers, one: Any, name: str = "", *, speaks: bool = True) -> None:
    """Let trackers pay for an agent or a group chat that was made for one that they pay for.

    Args:
        trackers: who pays, the innermost first.
        one: for what, without what is in it.
        name: for whom, if not in its own name.
        speaks: see `Payers`.
    """
    with _changing:
        payers = _payers(one, name, speaks=speaks)
        for tracker in trackers:
            payers.add(tracker)


def share_manager(trackers: Trackers, manager: Any) -> None:
    """Let trackers pay for a manager, and for whatever chooses speakers in its group chat."""
    for one in (manager, *(chat for chat in _members(manager) if isinstance(chat, GroupChat))):
        share(trackers, one)


@contextmanager
def inviting(chat: Any) -> Iterator[None]:
    """Let those who lead a chat pay, while it lasts, for those in it who have no budget."""
    guests = [one for one in _reached(chat, _is_guest) if _is_guest(one)]
    with _changing:
        for one in guests:
            _payers(one).chats += 1
    try:
        yield
    finally:
        with _changing:
            for one in guests:
                payers = _payers(one)
                payers.chats -= 1
                _release(one, payers)


_changing: Final = RLock()
_guards: Final[dict[type, type]] = {}
_DERIVED: Final = "_budget_derived_from"


def guards(kind: type) -> Callable[[K], K]:
    """Register the class that comes before the own class of objects of this kind."""

    def register(guard: K) -> K:
        _guards[kind] = guard
        return guard

    return register


def _payers(one: Any, name: str = "", *, speaks: bool = True) -> ChatPayers:
    if (payers := payers_of(one)) is not None:
        return payers
    manages = isinstance(one, GroupChat | GroupChatManager)
    payers = ChatPayers(name or getattr(one, "name", ""), speaks=speaks and not manages)
    one.__dict__[PAYERS] = payers
    kind: Any = type(one)
    one.__class__ = _guarded(kind)
    _mind(one, wanted=True)
    return payers


def _release(one: Any, payers: ChatPayers) -> None:
    if payers.own or payers.chats or not hasattr(one, _DERIVED):
        return
    _mind(one, wanted=False)
    one.__class__ = getattr(one, _DERIVED)
    for name in (PAYERS, "_budget_face", "_budget_answered"):
        one.__dict__.pop(name, None)


def _mind(one: Any, *, wanted: bool) -> None:
    if isinstance(one, ConversableAgent):
        one._budget_mind(wanted=wanted)  # type: ignore[attr-defined]  # noqa: SLF001


@cache
def _guarded(kind: type) -> type:
    guard = next(guard for known, guard in _guards.items() if issubclass(kind, known))
    return derived(kind, guard, **{_DERIVED: kind})


def _reached(target: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """Return all agents and group chats in `target`, itself included.

    Args:
        target: where to look.
        wanted: tells of a recipient of a nested chat whether it is to be found.
    """
    found: dict[int, Any] = {}
    waiting = [target]
    while waiting:
        one = waiting.pop()
        if id(one) in found:
            continue
        if isinstance(one, ConversableAgent | GroupChat):
            found[id(one)] = one
        waiting += _members(one)
        waiting += filter(wanted, _nested(one))
    return list(found.values())


def _is_guest(one: Any) -> bool:
    """Return whether an agent or a group chat has no payer of its own."""
    payers = payers_of(one)
    return payers is None or not payers.own


def _is_free(tracker: AutoGenBudgetTracker, one: Any) -> bool:
    """Return whether one has no payer of its own but perhaps this tracker."""
    payers = payers_of(one)
    return payers is None or not payers.own or tracker in payers.own


def _members(one: Any) -> Iterator[Any]:
    if isinstance(one, GroupChat | Pattern):
        yield from one.agents
    if isinstance(one, Pattern) and one.user_agent is not None:
        yield one.user_agent
    if isinstance(one, GroupChatManager):
        yield one.groupchat
        for entry in one._reply_func_list:  # noqa: SLF001
            yield from (c for c in (entry["config"], entry["init_config"]) if c is not None)


def _nested(one: Any) -> Iterator[Any]:
    """Give the recipients and senders of nested chats, which only their reply function knows."""
    for entry in getattr(one, "_reply_func_list", ()):
        function = entry["reply_func"]
        code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
        if code is None or not cells or "chat_queue" not in code.co_freevars:
            continue
        for chat in cells[code.co_freevars.index("chat_queue")].cell_contents:
            yield from (chat[key] for key in ("recipient", "sender") if chat.get(key) is not None)
