"""What may go to a terminal: names come from outside, and a terminal obeys what is in them."""

from __future__ import annotations

import json
import re
from typing import Final

_OBEYED: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences, window titles, new lines
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # which way a line is read, and its end
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # unseen
    "\ud800-\udfff"  # half a pair cannot be encoded
    "]"
)


def printable(text: str, *, keep: str = "") -> str:
    r"""Return text with what a terminal obeys, or does not show, written as ``\x1b`` or ``\u202e``.

    Args:
        text: whatever it may hold.
        keep: characters that stay as they are, as in ``"\n"``.
    """
    return _OBEYED.sub(lambda found: _escaped(found[0], keep), text)


def _escaped(character: str, keep: str) -> str:
    return character if character in keep else character.encode("unicode_escape").decode()


def printable_json(document: str) -> str:
    r"""Return a JSON document with the same characters as ``\u…``; it says what it said before."""
    return _OBEYED.sub(lambda found: _as_json(found[0]), document)


def _as_json(character: str) -> str:
    if character == "\n":  # between members: within a text it is escaped already
        return character
    return json.dumps(character)[1:-1]
