"""How the events of a stream tell of output and of usage: one format an API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Event: TypeAlias = Mapping[str, Any]

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ABOUT_THOUGHT: Final = frozenset({"thought", "thoughtSignature"})


class StreamFormat(NamedTuple):
    """What to look for in a stream.

    Attributes:
        deltas: counts the deltas of the answer in an event, each a token at least.
        last: tells whether an event's usage is that of the whole answer.
        only_usage: tells whether an event brings nothing but usage.
    """

    deltas: Callable[[Event], int]
    last: Callable[[Event], bool]
    only_usage: Callable[[Event], bool] = lambda _event: False


def _chat_deltas(event: Event) -> int:
    return sum(map(_speaks, event.get("choices") or ()))


def _speaks(choice: Event) -> bool:
    delta = choice.get("delta")
    if not delta:
        return bool(choice.get("text"))
    return any({**delta, "role": None}.values())


def _chat_last(event: Event) -> bool:
    choices = event.get("choices")
    return bool(event.get("usage")) and (
        not choices or any(choice.get("finish_reason") for choice in choices)
    )


def _only_usage(event: Event) -> bool:
    return event.get("choices") == [] and bool(event.get("usage"))


def _response_deltas(event: Event) -> int:
    return 1 if str(event.get("type", "")).endswith(".delta") and event.get("delta") else 0


def _block_deltas(event: Event) -> int:
    if event.get("type") == "content_block_start":
        block = event.get("content_block") or {}
        return 1 if block.get("type") not in ("text", "thinking") else 0
    if event.get("type") != "content_block_delta":
        return 0
    delta = event.get("delta") or {}
    return 1 if delta.get("text") or delta.get("thinking") or delta.get("partial_json") else 0


def _stopped(event: Event) -> bool:
    return event.get("type") == "message_delta" and bool(event.get("usage"))


def _part_deltas(event: Event) -> int:
    contents = (candidate.get("content") or {} for candidate in event.get("candidates") or ())
    return sum(1 for content in contents for part in content.get("parts") or () if _says(part))


def _says(part: Event) -> bool:
    """Return whether a part of an answer has a token of its own: the last one's text is empty."""
    return any(value for key, value in part.items() if key not in _ABOUT_THOUGHT)


def _finished(event: Event) -> bool:
    blocked = (event.get("promptFeedback") or {}).get("blockReason")
    return bool(blocked) or any(c.get("finishReason") for c in event.get("candidates") or ())


CHAT: Final = StreamFormat(_chat_deltas, _chat_last, _only_usage)
RESPONSES: Final = StreamFormat(_response_deltas, lambda event: event.get("type") in _ENDS)
MESSAGES: Final = StreamFormat(_block_deltas, _stopped)
GEMINI: Final = StreamFormat(_part_deltas, _finished)
