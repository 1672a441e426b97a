"""How the events of a stream tell of output and of usage: one dialect an API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Event: TypeAlias = Mapping[str, Any]

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ABOUT_THOUGHT: Final = frozenset({"thought", "thoughtSignature"})


class Dialect(NamedTuple):
    """What to look for in a stream.

    Attributes:
        pieces: counts the pieces of answer in an event, each a token at least.
        last: tells whether an event's usage is that of the whole answer.
        only_usage: tells whether an event brings nothing but usage.
    """

    pieces: Callable[[Event], int]
    last: Callable[[Event], bool]
    only_usage: Callable[[Event], bool] = lambda _event: False


def _chat_pieces(event: Event) -> int:
    return sum(1 for choice in event.get("choices") or () if _speaks(choice))


def _speaks(choice: Event) -> bool:
    delta = choice.get("delta")
    if not delta:
        return bool(choice.get("text"))
    return any(value for key, value in delta.items() if key != "role")


def _chat_last(event: Event) -> bool:
    choices = event.get("choices")
    return bool(event.get("usage")) and (
        not choices or any(choice.get("finish_reason") for choice in choices)
    )


def _only_usage(event: Event) -> bool:
    return event.get("choices") == [] and bool(event.get("usage"))


def _delta_pieces(event: Event) -> int:
    return 1 if str(event.get("type", "")).endswith(".delta") and event.get("delta") else 0


def _block_pieces(event: Event) -> int:
    if event.get("type") == "content_block_start":
        block = event.get("content_block") or {}
        return 1 if block.get("type") not in ("text", "thinking") else 0
    if event.get("type") != "content_block_delta":
        return 0
    delta = event.get("delta") or {}
    said = (delta.get(key) for key in ("text", "thinking", "partial_json"))
    return 1 if any(said) else 0


def _stopped(event: Event) -> bool:
    return event.get("type") == "message_delta" and bool(event.get("usage"))


def _parts(event: Event) -> int:
    contents = (candidate.get("content") or {} for candidate in event.get("candidates") or ())
    return sum(1 for content in contents for part in content.get("parts") or () if _says(part))


def _says(part: Event) -> bool:
    """Tell whether a part of an answer has a token of its own: the last one's text is empty."""
    return any(value for key, value in part.items() if key not in _ABOUT_THOUGHT)


def _finished(event: Event) -> bool:
    blocked = (event.get("promptFeedback") or {}).get("blockReason")
    return bool(blocked) or any(c.get("finishReason") for c in event.get("candidates") or ())


CHAT: Final = Dialect(_chat_pieces, _chat_last, _only_usage)
RESPONSES: Final = Dialect(_delta_pieces, lambda event: event.get("type") in _ENDS)
MESSAGES: Final = Dialect(_block_pieces, _stopped)
GEMINI: Final = Dialect(_parts, _finished)
