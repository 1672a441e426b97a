"""What a request sends: its size, what in it has no bound, and what of it was billed before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from budget_core.calls.documents import PACKED, document

UNSEEN_TOKENS: Final = 1_024
"""Added to the bytes of a request: what providers add to it (measured: at most 304 tokens)."""
_EXTRA: Final = 16
"""Added to the bytes of a message: what providers put around it."""
IMAGE_TOKENS: Final = 16_384
"""Held for one inline image: above what providers bill for one, but for what follows."""
PAGE_TOKENS: Final = 6_144
"""Held for the picture of one page of a file: twice what was measured (3,069, of Claude 5.5)."""
_DEAR_IMAGES: Final = {"gpt-4o-mini": 49_152}
"""Models whose image may be more: 2,833 tokens, and 5,667 for each of up to eight tiles."""

_CLIENT_TOOLS: Final = frozenset({
    "function", "custom", "namespace", "computer", "computer_use_preview", "local_shell",
    "apply_patch",
})  # fmt: skip
_CLIENT_TOOL_VERSIONS: Final = ("bash_", "text_editor_", "computer_", "memory_")
"""Types of tools that run at the client, Anthropic's by their beginnings; those of any other type
run at the provider, which reads and bills what they bring."""
_MEDIA: Final = re.compile("image|video|audio|sound|file|document|pdf|media")
_STORED: Final = {
    "previous_response_id": "a stored response (previous_response_id)",
    "conversation": "a stored conversation",
    "prompt": "a stored prompt",
    "web_search_options": "the provider's web search",
    "mcp_servers": "tools of remote MCP servers",
    "fallbacks": "other models to fall back on (fallbacks)",
    "models": "other models to fall back on (models)",
    "inference_geo": "a region with prices of its own (inference_geo)",
}
_REFERENCES: Final = {
    "file_id": "a stored file (file_id)",
    "file_url": "a file by URL (file_url)",
    "fileUri": "a file by URL (fileUri)",
    "file_uri": "a file by URL (file_uri)",
}


class Prompt(NamedTuple):
    """What a request sends, as parsed JSON.

    Attributes:
        messages: the conversation, oldest first.
        context: everything else that the provider may count as input: tools, system, formats.
    """

    messages: Sequence[Any]
    context: Any = None


Count: TypeAlias = Callable[[str], int]


class Size(NamedTuple):
    """What `measure` found.

    Attributes:
        text: UTF-8 bytes, or what else texts are counted by.
        images: how many are inline.
        unbounded: what has no bound.
        one_hour: a part may be written to a cache for an hour (Anthropic's ``"ttl": "1h"``).
        audio: a part is audio, or the answer is to be.
        pages: of files that are inline.
    """

    text: int
    images: int = 0
    unbounded: str | None = None
    one_hour: bool = False
    audio: bool = False
    pages: int = 0

    def tokens(self, model: str) -> int:
        """Return a bound on the tokens: no byte-level tokenizer makes more tokens than bytes."""
        if not self.images and not self.pages:
            return self.text
        dear = [most for name, most in _DEAR_IMAGES.items() if name in model.lower()]
        image, page = (dear[0], dear[0]) if dear else (IMAGE_TOKENS, PAGE_TOKENS)
        return self.text + self.images * image + self.pages * page


def utf8_bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


_INLINE: Final = Size(64, images=1)


def measure(value: Any, count: Count = utf8_bytes) -> Size:
    """Return the size of JSON-like `value`: its texts, as `count` has it, keys and punctuation."""
    if isinstance(value, str | bytes):
        packed = isinstance(value, bytes) or value.startswith(PACKED)
        if packed and (size := _file(value)) is not None:
            return size
        return Size(count(value) + 3 if isinstance(value, str) else len(value))
    if isinstance(value, Mapping):
        return _measure_mapping(value, count)
    if isinstance(value, list | tuple):
        return _sum([measure(item, count) for item in value])
    if hasattr(value, "model_dump"):
        model: Any = value
        plain = model.model_json_schema() if isinstance(value, type) else model.model_dump()
        return measure(plain, count)
    return Size(utf8_bytes(str(value)) + 3)


def _file(packed: str | bytes) -> Size | None:
    """Size a file that is inline; None where its bytes bound it."""
    found = document(packed)
    if found is None:
        return None
    return Size(64 + found.text, unbounded=found.unbounded, pages=found.pages)


def _measure_mapping(value: Mapping[Any, Any], count: Count) -> Size:
    if (found := _media(value)) is not None:
        rest = {key: item for key, item in value.items() if key not in found.keys}
        return _sum([found.size, measure(rest, count)])
    parts = [measure(item, count) for item in value.values()]
    size = _sum(parts)
    unbounded = size.unbounded
    for key in value:
        if key in _REFERENCES and value[key]:
            unbounded = _REFERENCES[key]
    kind = value.get("type")
    if kind == "item_reference":
        unbounded = "a stored item (item_reference)"
    if isinstance(kind, str) and _linked(kind, value):
        unbounded = f"media by URL or id ({kind})"
    if isinstance(tools := value.get("tools"), list | tuple):
        unbounded = next(filter(None, map(_at_provider, tools)), unbounded)
    keys = sum(utf8_bytes(key) + 4 if isinstance(key, str) else 8 for key in value)
    one_hour = size.one_hour or value.get("ttl") == "1h"
    audio = size.audio or kind == "input_audio" or "audio" in (value.get("modalities") or ())
    return Size(size.text + keys, size.images, unbounded, one_hour, audio, size.pages)


def _sum(sizes: Sequence[Size]) -> Size:
    total, images, unbounded, one_hour, audio, pages = 2, 0, None, False, False, 0
    for size in sizes:
        total += size.text
        images += size.images
        unbounded = unbounded or size.unbounded
        one_hour = one_hour or size.one_hour
        audio = audio or size.audio
        pages += size.pages
    return Size(total, images, unbounded, one_hour, audio, pages)


def _at_provider(tool: Any) -> str | None:
    kind = tool.get("type") if isinstance(tool, Mapping) else getattr(tool, "type", None)
    if not isinstance(kind, str) or kind in _CLIENT_TOOLS or kind.startswith(_CLIENT_TOOL_VERSIONS):
        return None
    if kind == "shell" and isinstance(tool, Mapping):
        where = tool.get("environment") or {"type": "local"}
        if isinstance(where, Mapping) and where.get("type") == "local":
            return None
    return f"a tool that runs at the provider ({kind})"


def _linked(kind: str, value: Mapping[Any, Any]) -> bool:
    """Return whether a part of a message names media that the provider fetches."""
    if not _MEDIA.search(kind):
        return False
    for inside in (value.get(kind), value.get("source"), value):
        if isinstance(inside, Mapping):
            if inside.get("type") in ("url", "file") and inside is not value:
                return True
            where = [inside.get("url"), inside.get("file_data"), inside.get("s3Location")]
        else:
            where = [inside]
        if any(isinstance(at, Mapping) or _is_link(at) for at in where):
            return True
    return False


def _is_link(text: Any) -> bool:
    return isinstance(text, str) and "://" in text[:12]


class _Media(NamedTuple):
    """An image, and the keys that hold it: what stands beside them is text like any other."""

    size: Size
    keys: tuple[str, ...]


def _media(value: Mapping[Any, Any]) -> _Media | None:
    """Size a PDF, or an image: by a constant where it is inline, unbounded where it is a link."""
    mime = value.get("mimeType") or value.get("mime_type")
    if isinstance(mime, str) and mime.startswith("image/") and "data" in value:
        return _Media(_INLINE, ("data",))
    if (mime or value.get("media_type")) == "application/pdf" and value.get("data"):
        unread = Size(64, unbounded="a PDF that cannot be read here")
        return _Media(_file(value["data"]) or unread, ("data",))
    image, key = value.get("image_url"), "image_url"
    if isinstance(image, Mapping) and isinstance(image.get("url"), str):
        size = measure({name: item for name, item in image.items() if name != "url"})
        return _Media(_sum([_image(image["url"]), size]), (key,))
    source = value.get("source")
    if image is None and value.get("type") == "image":
        if isinstance(source, Mapping):
            image, key = _source_url(source), "source"
        else:
            image, key = value.get("url"), "url"
    return _Media(_image(image), (key,)) if isinstance(image, str) else None


def _image(url: str) -> Size:
    if url.startswith("data:"):
        return _INLINE
    return Size(64 + utf8_bytes(url), 1, "an image by URL")


def _source_url(source: Mapping[Any, Any]) -> str:
    return "data:" if source.get("type") == "base64" else str(source.get("url", ""))


def unbounded_in(body: Mapping[str, Any]) -> str | None:
    """Name what at a request's top level has no bound: input kept elsewhere, other prices."""
    for key in _STORED.keys() & body.keys():
        value = body[key]
        text = key == "prompt" and not isinstance(value, Mapping)
        priced = key == "inference_geo" and value in ("global", "us")
        if value and not text and not priced:
            return _STORED[key]
    return None


def snapshot(value: Any) -> Any:
    """Copy the containers of JSON-like `value`, so that a later mutation is not seen."""
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return snapshot(value.model_dump())
    return value
