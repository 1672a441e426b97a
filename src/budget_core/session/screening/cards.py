"""Credit card numbers in a text: Luhn's test, at all its places at once.

A hostile text has a hundred thousand numbers that could be a card's. So none is taken out: the
characters are the bytes of a large integer, and to add two of them is to add at every place. The
first character is the lowest byte, so ``x >> 8`` has at each place what `x` has at the next one.
"""

from __future__ import annotations

from typing import Final

_PART: Final = 32_768
"""Bytes that are looked at together, as they fit a processor's cache."""
_AROUND: Final = 32
"""Bytes before and behind them, which tell where numbers begin and end."""

_SHORTEST: Final = 13
_LONGEST: Final = 19
_UNBROKEN: Final = b"0" * _SHORTEST
_FOURS: Final = b"0000-0000-0000-0000"
_APART: Final = b"0000-000000-0000"


def _table(characters: bytes, values: bytes) -> bytes:
    """Return what turns some bytes into others, and those that are left into zeros."""
    told = dict(zip(characters, values, strict=True))
    return bytes(told.get(n, 0) for n in range(256))


_SHAPE: Final = _table(b"0123456789 -", b"0000000000--")
_PLAIN: Final = _table(b"123456789", bytes(range(1, 10)))
_DOUBLED: Final = _table(b"123456789", bytes((2, 4, 6, 8, 1, 3, 5, 7, 9)))
_DIGIT: Final = _table(b"0123456789", b"\xff" * 10)
_OTHER: Final = bytes(255 - n for n in _DIGIT)
_BETWEEN: Final = _table(b" -", b"\xff" * 2)
_FIRST: Final = _table(b"23456", b"\xff" * 5)
_THREE: Final = _table(b"3", b"\xff")
_NOT_TENS: Final = bytes(n for n in range(256) if n == 0 or n % 10)


def has_card(text: bytes) -> bool:
    """Tell whether a text has a number that is a card's: in one, in fours, or as Amex writes it.

    Such a number has 13 to 19 digits, begins as those of cards do, and passes Luhn's test.
    """
    padded = text.join((bytes(_AROUND),) * 2)
    ahead = _PART + 2 * _AROUND
    return any(_has_card(padded[at : at + ahead]) for at in range(0, len(text), _PART))


def _has_card(part: bytes) -> bool:
    shape = part.translate(_SHAPE)
    ways = [way for known, way in _WAYS.items() if known in shape]
    if not ways:
        return False
    numbers, sums = _Numbers(part), 0
    for way in ways:
        sums |= way(numbers)
    found = sums.to_bytes(len(part), "little")[_AROUND:-_AROUND]
    return bool(found.translate(None, _NOT_TENS))


class _Numbers:
    """What is at each place of a text. Masks are 255 where something is so, and 0 elsewhere.

    The methods return Luhn's sum where a number begins: 171 at most, so none flows over.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._digit = self._each(_DIGIT)
        self._other = self._digit ^ int.from_bytes(b"\xff" * len(text))
        self._between, self._first = self._each(_BETWEEN), self._each(_FIRST)
        self._plain, self._doubled = self._each(_PLAIN), self._each(_DOUBLED)
        self._two = self._doubled + _next(self._plain, 1)
        self._four = self._two + _next(self._two, 2)

    def unbroken(self) -> int:
        """Return the sums of numbers in one."""
        length = _SHORTEST - 1
        total = self._four + _next(self._four, 4) + _next(self._four, 8)
        ends = self._ending(length)
        begins, sums = self._first & self._other << 8, 0
        while length < _LONGEST:
            length += 1
            total = (self._plain if length % 2 else self._doubled) + _next(total, 1)
            ends = self._digit & _next(ends, 1)
            sums |= begins & ends & total
        return sums

    def fours(self) -> int:
        """Return the sums of numbers in fours: four groups, or four of five.

        More groups than that are a table of numbers, of which one in twenty would pass.
        """
        joined = self._groups(4, 4)
        number = self._first & joined & _next(joined, 5) & _next(joined, 10)
        before, behind = joined << 40, _next(joined, 15)
        table = before & joined << 80 | before & behind | behind & _next(joined, 20)
        eight = self._four + _next(self._four, 5)
        return (number ^ number & table) & eight + _next(eight, 10)

    def apart(self) -> int:
        """Return the sums of numbers of 4, 6, and 5 digits (Amex) or 4 (Diners)."""
        four, plain = self._four, self._plain
        of_14 = four + _next(four + _next(self._two, 4), 5) + _next(four, 12)
        two = plain + _next(self._doubled, 1)
        four = two + _next(two, 2)
        of_15 = four + _next(four + _next(two, 4), 5) + _next(four + _next(plain, 4), 12)
        sums = _next(self._ending(4), 12) & of_14 | _next(self._ending(5), 12) & of_15
        return self._each(_THREE) & self._groups(4, 6) & _next(self._between, 11) & sums

    def _each(self, table: bytes) -> int:
        return int.from_bytes(self._text.translate(table), "little")

    def _groups(self, first: int, second: int) -> int:
        """Return where two groups of so many digits begin, with one character between them."""
        begins = self._other << 8 & self._ending(first)
        return begins & _next(self._between, first) & _next(self._ending(second), first + 1)

    def _ending(self, length: int) -> int:
        """Return where so many digits begin, and not one more."""
        return self._run(length) & _next(self._other, length)

    def _run(self, length: int) -> int:
        """Return where so many digits begin, or more."""
        if length == 1:
            return self._digit
        half = self._run((length + 1) // 2)
        return half & _next(half, length // 2)


def _next(what: int, places: int) -> int:
    """Return at each place what is some places further on."""
    return what >> 8 * places


_WAYS: Final = {
    _UNBROKEN: _Numbers.unbroken,
    _FOURS: _Numbers.fours,
    _APART: _Numbers.apart,
}

__all__ = ["has_card"]
