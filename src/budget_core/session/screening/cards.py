"""Credit card numbers in a text: what is written like one, and passes Luhn's test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_SHAPES: Final = bytes.maketrans(b"123456789-", b"000000000 ")
_GROUP: Final = len(b"0000 ")
_FOURS_LENGTH: Final = 4 * _GROUP - 1
_MOST_FOURS: Final = 5 * _GROUP - 1
"""More groups than five are a table of numbers, of which one in twenty would pass."""

# A digit's share of Luhn's sum: itself, and at every other place the digits of its double.
_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))

# They look behind only after their first character, which the engine skips to.
_UNBROKEN: Final = re.compile(rb"[2-6](?<![0-9].)[0-9]{12,18}+(?![0-9])")
_FOURS: Final = re.compile(rb"[0-9](?<![0-9].)[0-9]{3}(?:[ -][0-9]{4}(?![0-9])){3,}+")
_APART: Final = re.compile(rb"3(?<![0-9].)(?=([0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}(?![0-9])))")


def has_card(text: bytes) -> bool:
    """Return whether a text has a card's number: in one, in fours, or as Amex writes it.

    Such a number has 13 to 19 digits, begins as those of cards do, and passes Luhn's test.
    """
    shape = text.translate(_SHAPES)
    return any(known in shape and any(map(_passes, way(text))) for known, way in _WAYS.items())


def _fours(text: bytes) -> Iterator[bytes]:
    for run in _FOURS.findall(text):
        if len(run) <= _MOST_FOURS:
            for at in range(0, len(run) - _FOURS_LENGTH + 1, _GROUP):
                if run[at] in b"23456":
                    yield run[at : at + _FOURS_LENGTH].translate(None, b" -")


def _apart(text: bytes) -> Iterator[bytes]:
    return (b"3" + number.translate(None, b" -") for number in _APART.findall(text))


def _passes(number: bytes) -> bool:
    plain, doubled = number[-1::-2].translate(_PLAIN), number[-2::-2].translate(_DOUBLED)
    return (sum(plain) + sum(doubled)) % 10 == 0


_WAYS: Final[dict[bytes, Callable[[bytes], Iterable[bytes]]]] = {
    b"0000000000000": _UNBROKEN.findall,
    b"0000 0000 0000 0000": _fours,
    b"0000 000000 0000": _apart,
}
