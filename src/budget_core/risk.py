"""Personal data and secrets in a text: found in time linear in its length, never kept.

>>> analyze_text("Contact user@example.com")
['PII_EMAIL']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, get_args

Risk: TypeAlias = Literal[
    "PII_EMAIL",
    "PII_SSN",
    "FINANCIAL_CREDIT_CARD",
    "SECRET_AWS_ACCESS_KEY",
    "SECRET_STRIPE",
    "SECRET_GITHUB",
    "SECRET_JWT",
]
RISKS: Final[tuple[Risk, ...]] = get_args(Risk)


def analyze_text(text: str) -> list[str]:
    """Return the tags of what a text contains: of `RISKS`, in that order, each once.

    A megabyte takes milliseconds, whatever is in it. The text is neither kept nor sent.
    """
    numbers = _numbers(text)
    return [risk for risk in RISKS if _FOUND[risk](numbers if risk in _IN_NUMBERS else text)]


# What has no bound in these patterns is possessive (`++`) and cannot begin inside of itself, so
# that no character is looked at more than a few times. They look behind only after their first
# character: so the engine skips to where that is, ten times as fast.


def _searching(pattern: str, *parts: str) -> Callable[[str], bool]:
    """Return what searches for a pattern, if any of its parts is there at all."""
    search = re.compile(pattern).search
    return lambda text: any(part in text for part in parts) and search(text) is not None


_EMAIL: Final = r"[A-Za-z0-9_%+-]@[A-Za-z0-9-]++(?:\.(?![A-Za-z]{2})[A-Za-z0-9-]++)*+\.[A-Za-z]{2}"
_SSN: Final = (
    r"[0-8](?<![0-9-].)[0-9]{2}(?<!000)(?<!666)([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![0-9-])"
)
_AWS: Final = r"A(?<![A-Za-z0-9].)(?:KIA|SIA|IDA|ROA|GPA|NPA)[A-Z2-7]{16}(?![A-Za-z0-9])"
_STRIPE: Final = r"[sr]k_(?<![A-Za-z0-9]...)(?:live|test)_[A-Za-z0-9]{16}"
_GITHUB: Final = r"g(?<![A-Za-z0-9].)(?:h[pousr]_[A-Za-z0-9]{36}|ithub_pat_[A-Za-z0-9_]{22})"
_JWT: Final = (
    r"eyJ(?:(?<![A-Za-z0-9_-]...)|(?<=%[0-9A-F]{2}...))"
    r"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]{16}"
)

# -- numbers ---------------------------------------------------------------------------------

_IN_NUMBERS: Final[frozenset[Risk]] = frozenset({"PII_SSN", "FINANCIAL_CREDIT_CARD"})
_NUMBER: Final = re.compile(r"[0-9](?=[0-9 -]{10})[0-9]*+(?:[ -][0-9]++)*+")
_TOO_LONG: Final = re.compile(r"[0-9]{20,}+")


def _numbers(text: str) -> str:
    """Return of a text what is written in digits, as far as it could be a card's number.

    That is little of most texts, and saves them all other searches.
    """
    return _TOO_LONG.sub("x", "\n".join(_NUMBER.findall(text)))


# -- credit cards ----------------------------------------------------------------------------

_UNBROKEN: Final = re.compile(r"[2-6](?<![0-9].)[0-9]{12,18}+(?![0-9])")
_FOURS: Final = re.compile(r"[0-9]{4}(?<![0-9]....)(?:[ -][0-9]{4}(?![0-9]))++")
_AMEX: Final = re.compile(r"3[47](?<![0-9]..)[0-9]{2}[ -][0-9]{6}[ -][0-9]{5}(?![0-9])")
_FOUR_FOURS: Final = len("4111 1111 1111 1111")
_FIVE_FOURS: Final = len("4111 1111 1111 1111 1225")
_LONGEST: Final = 19

_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_NOT_TENS: Final = bytes(n for n in range(256) if n % 10)


def _has_card(text: str) -> bool:
    return any(
        _any_valid(_digits(numbers), length)
        for numbers, length in (
            ([number.zfill(_LONGEST) for number in _UNBROKEN.findall(text)], _LONGEST),
            (_four_fours(text), 16),
            (_AMEX.findall(text), 15),
        )
        if numbers
    )


def _four_fours(text: str) -> list[str]:
    """Return numbers of four groups of four digits, also before or behind a fifth such group.

    More groups than that are a table of numbers: one in twenty would pass for a card.
    """
    found = []
    for run in _FOURS.findall(text):
        if len(run) == _FOUR_FOURS:
            found.append(run)
        elif len(run) == _FIVE_FOURS:
            found += [run[:_FOUR_FOURS], run[-_FOUR_FOURS:]]
    return [number for number in found if "2" <= number[0] <= "6"]


def _digits(numbers: Sequence[str]) -> bytes:
    return "".join(numbers).replace(" ", "").replace("-", "").encode()


def _any_valid(digits: bytes, length: int) -> bool:
    """Tell whether any of some numbers of one length passes Luhn's test, all of them at once.

    The first digits of all numbers are the bytes of one large integer, and so are the second
    ones, and so on. Each byte of their sum is a number's own: it is 171 at most, so none
    overflows.
    """
    total = 0
    for place in range(length):
        doubled = (length - place) % 2 == 0
        column = digits[place::length].translate(_DOUBLED if doubled else _PLAIN)
        total += int.from_bytes(column)
    sums = total.to_bytes(len(digits) // length)
    return bool(sums.translate(None, _NOT_TENS))


_FOUND: Final[dict[Risk, Callable[[str], bool]]] = {
    "PII_EMAIL": _searching(_EMAIL, "@"),
    "PII_SSN": _searching(_SSN, "-", " "),
    "FINANCIAL_CREDIT_CARD": _has_card,
    "SECRET_AWS_ACCESS_KEY": _searching(_AWS, "AKIA", "ASIA", "AIDA", "AROA", "AGPA", "ANPA"),
    "SECRET_STRIPE": _searching(_STRIPE, "k_live_", "k_test_"),
    "SECRET_GITHUB": _searching(_GITHUB, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "SECRET_JWT": _searching(_JWT, "eyJ"),
}

__all__ = ["RISKS", "Risk", "analyze_text"]
