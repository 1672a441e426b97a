"""Personal data and secrets in a text: found in time linear in its length, never kept.

>>> analyze_text("Contact user@example.com")
['PII_EMAIL']
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

from budget_core.session.screening.cards import has_card

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
    if not text.isascii():
        for character, plain in _SPELLINGS.items():
            text = text.replace(character, plain)
    searched = text.encode("ascii", "replace")  # each character is one byte
    return [risk for risk in RISKS if _FOUND[risk](searched)]


_SPELLINGS: Final = {
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": " ",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{EN DASH}": "-",
}
"""How documents write what is between the digits of a number."""

# What has no bound in these patterns is possessive (`++`) and cannot begin inside of itself, so
# that no character is looked at more than a few times. They look behind only after their first
# character: so the engine skips to where that is, ten times as fast.


def _searching(pattern: bytes, *parts: bytes) -> Callable[[bytes], bool]:
    search = re.compile(pattern).search
    return lambda text: any(part in text for part in parts) and search(text) is not None


_EMAIL: Final = (
    rb"@(?<=[A-Za-z0-9_%+-]@)[A-Za-z0-9-]++(?:\.(?![A-Za-z]{2})[A-Za-z0-9-]++)*+\.[A-Za-z]{2}"
)
_SSN: Final = (
    rb"%b(?<=[0-8][0-9]{2}.)(?<!000.)(?<!666.)(?<![0-9]{4}.)(?<![0-9]-[0-9]{3}.)"
    rb"(?!00)[0-9]{2}%b(?!0000)[0-9]{4}(?!-?[0-9])"
)
_AWS: Final = rb"A(?<![A-Za-z0-9].)(?:KIA|SIA|IDA|ROA|GPA|NPA)[A-Z0-9]{16}(?![A-Za-z0-9])"
_STRIPE: Final = rb"[sr]k_(?<![A-Za-z0-9]...)(?:live|test)_[A-Za-z0-9]{16}"
_GITHUB: Final = rb"g(?<![A-Za-z0-9].)(?:h[pousr]_[A-Za-z0-9_]{36}|ithub_pat_[A-Za-z0-9_]{22})"
_JWT: Final = (
    rb"eyJ(?:(?<![A-Za-z0-9_-]...)|(?<=%[0-9A-F]{2}...))"
    rb"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]{16}"
)

_ALL_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_SSNS: Final = {
    b"000%b00%b0000" % (apart, apart): re.compile(_SSN % (apart, apart)).search
    for apart in (b"-", b" ")
}


def _has_ssn(text: bytes) -> bool:
    shape = text.translate(_ALL_ZEROS)
    return any(known in shape and search(text) for known, search in _SSNS.items())


_FOUND: Final[dict[Risk, Callable[[bytes], bool]]] = {
    "PII_EMAIL": _searching(_EMAIL, b"@"),
    "PII_SSN": _has_ssn,
    "FINANCIAL_CREDIT_CARD": has_card,
    "SECRET_AWS_ACCESS_KEY": _searching(_AWS, b"A"),
    "SECRET_STRIPE": _searching(_STRIPE, b"k_live_", b"k_test_"),
    "SECRET_GITHUB": _searching(_GITHUB, b"gh", b"github_pat_"),
    "SECRET_JWT": _searching(_JWT, b"eyJ"),
}
