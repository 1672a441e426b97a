"""The provider's own tokenizer: up to four UTF-8 bytes of whole characters make a token.

It is deterministic, needs no vocabulary, and keeps the properties that bounds rely on:
a text never has more tokens than UTF-8 bytes, appending never lowers the count, and the
first tokens of a text do not depend on what follows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN_BYTES = 4
MESSAGE_TOKENS = 4
"""Added for every message, as chat formats do."""
MEDIA_TOKENS = 765
"""One image, sound or file; inline data never counts more tokens than it has characters."""

_SILENT_KEYS = frozenset(
    {"role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "cache_control", "status"}
)
_MEDIA_TYPES = frozenset(
    {"image_url", "input_image", "image", "input_audio", "input_file", "file", "document"}
)


def count(text: str) -> int:
    if text.isascii():
        return -(-len(text) // TOKEN_BYTES)
    return len(pieces(text))


def pieces(text: str) -> list[str]:
    """Split a text into its tokens; joined, they are the text again."""
    if text.isascii():
        return [text[i : i + TOKEN_BYTES] for i in range(0, len(text), TOKEN_BYTES)]
    found: list[str] = []
    start = size = 0
    for position, char in enumerate(text):
        width = len(char.encode("utf-8", "surrogatepass"))
        if size + width > TOKEN_BYTES:
            found.append(text[start:position])
            start, size = position, 0
        size += width
    found.append(text[start:])
    return found


def count_messages(messages: Iterable[Any]) -> int:
    """Return the tokens of chat messages: four each, plus all text in them."""
    return sum(MESSAGE_TOKENS + count_value(message) for message in messages)


def count_value(value: Any) -> int:
    """Return the tokens of every text inside a JSON value; roles, types and ids are free."""
    if value is None:
        return 0
    if isinstance(value, str):
        return count(value)
    if isinstance(value, list):
        return sum(count_value(item) for item in value)
    if isinstance(value, dict):
        if value.get("type") in _MEDIA_TYPES:
            return _count_media(value)
        return sum(count_value(item) for key, item in value.items() if key not in _SILENT_KEYS)
    return 1


def count_schema(value: Any) -> int:
    """Return the tokens of tools or schemas, which the model reads as compact JSON."""
    return count(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) if value else 0


def count_prompts(value: Any) -> list[int]:
    """Return the tokens of each prompt: a text, several, or token ids already."""
    if isinstance(value, str):
        return [max(1, count(value))]
    if value and all(isinstance(item, int) for item in value):
        return [len(value)]
    return [count_prompts(item)[0] for item in value]


def _count_media(part: dict[str, Any]) -> int:
    data = max(_strings(part), key=len, default="")
    inline = not data.startswith(("http://", "https://", "gs://"))
    return min(MEDIA_TOKENS, len(data)) if inline else MEDIA_TOKENS


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    return []
