"""How the events of a stream tell of output and of usage: one format an API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Event: TypeAlias = Mapping[str, Any]

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_DONE: Final = frozenset({"response.output_text.done", "response.content_part.done"})
_ABOUT: Final = frozenset({"role", "type", "id", "finish_reason", "object"})
_ABOUT_THOUGHT: Final = frozenset({"thought", "thoughtSignature"})


LETTERS: Final = 8
"""Of so many letters a token has at most, as words go."""


class StreamFormat(NamedTuple):
    """What to look for in a stream.

    Attributes:
        deltas: counts the deltas of the answer in an event, each a token at least.
        last: tells whether an event's usage is that of the whole answer.
        only_usage: tells whether an event brings nothing but usage.
        size: counts the letters of the answer in an event.
        ends: tells whether the answer ends with an event: what remains is usage.
        said: returns what an event brings of the answer.
        adds_up: a usage that was told before the end is that of the answer, at its end.
        thinks: tells whether an event is of a thought that is not shown in full; where it can be
            hidden altogether, any may be.
    """

    deltas: Callable[[Event], int]
    last: Callable[[Event], bool]
    only_usage: Callable[[Event], bool] = lambda _event: False
    size: Callable[[Event], int] = lambda _event: 0
    ends: Callable[[Event], bool] = lambda _event: False
    said: Callable[[Event], Any] = lambda _event: None
    adds_up: bool = False
    thinks: Callable[[Event], bool] = lambda _event: True

    def bytes_in(self, event: Event) -> int:
        """Count the bytes of the answer in an event: no fewer than its tokens."""
        return _bytes(self.said(event))


def _bytes(said: Any) -> int:
    if isinstance(said, str):
        return len(said.encode(errors="replace"))
    if isinstance(said, Mapping):
        return sum(map(_bytes, said.values()))
    if isinstance(said, list | tuple):
        return sum(map(_bytes, said))
    return 0


def _chat_deltas(event: Event) -> int:
    return sum(map(_speaks, event.get("choices") or ()))


def _speaks(choice: Event) -> bool:
    delta = choice.get("delta")
    if not delta:
        return bool(choice.get("text"))
    return any({**delta, "role": None}.values())


def _chat_size(event: Event) -> int:
    return sum(_letters(choice.get("delta") or choice) for choice in event.get("choices") or ())


def _letters(delta: Any) -> int:
    """Count the letters of what is said, without those that say who says it."""
    if isinstance(delta, str):
        return len(delta)
    if isinstance(delta, Mapping):
        return sum(_letters(part) for name, part in delta.items() if name not in _ABOUT)
    return sum(map(_letters, delta)) if isinstance(delta, list) else 0


def _chat_last(event: Event) -> bool:
    choices = event.get("choices")
    return bool(event.get("usage") or (event.get("x_groq") or {}).get("usage")) and (
        not choices or _chat_ends(event)
    )


def _chat_ends(event: Event) -> bool:
    return any(choice.get("finish_reason") for choice in event.get("choices") or ())


def _chat_said(event: Event) -> Any:
    return [choice.get("delta") or choice.get("text") for choice in event.get("choices") or ()]


def _only_usage(event: Event) -> bool:
    return event.get("choices") == [] and bool(event.get("usage"))


def _response_deltas(event: Event) -> int:
    return 1 if str(event.get("type", "")).endswith(".delta") and event.get("delta") else 0


def _response_ends(event: Event) -> bool:
    return event.get("type") in _DONE


def _response_said(event: Event) -> Any:
    if event.get("type") == "response.output_item.added":
        return event.get("item")
    return event.get("delta")


def _block_said(event: Event) -> Any:
    return event.get("delta") or event.get("content_block")


def _block_thinks(event: Event) -> bool:
    block = event.get("content_block") or {}
    return block.get("type") in ("thinking", "redacted_thinking")


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


def _parts_said(event: Event) -> Any:
    return [candidate.get("content") for candidate in event.get("candidates") or ()]


def _says(part: Event) -> bool:
    """Return whether a part of an answer has a token of its own: the last one's text is empty."""
    return any(value for key, value in part.items() if key not in _ABOUT_THOUGHT)


def _finished(event: Event) -> bool:
    blocked = (event.get("promptFeedback") or {}).get("blockReason")
    return bool(blocked) or any(c.get("finishReason") for c in event.get("candidates") or ())


CHAT: Final = StreamFormat(
    _chat_deltas,
    _chat_last,
    _only_usage,
    _chat_size,
    ends=_chat_ends,
    said=_chat_said,
    adds_up=True,
)
RESPONSES: Final = StreamFormat(
    _response_deltas,
    lambda event: event.get("type") in _ENDS,
    ends=_response_ends,
    said=_response_said,
)
MESSAGES: Final = StreamFormat(
    _block_deltas,
    _stopped,
    ends=lambda event: event.get("type") == "content_block_stop",
    said=_block_said,
    thinks=_block_thinks,
)
GEMINI: Final = StreamFormat(_part_deltas, _finished, ends=_finished, said=_parts_said)
