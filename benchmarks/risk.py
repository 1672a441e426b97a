"""How long a megabyte takes to be searched for personal data and secrets, whatever is in it.

Run: ``python benchmarks/risk.py``.
"""

from __future__ import annotations

import base64
import platform
import random
import timeit

from budget_core import analyze_text

MEGABYTE = 1_000_000
CHANCE = random.Random(1)  # noqa: S311  no secrets

TEXTS = {
    "English": "The quick brown fox jumps over the lazy dog, and was paid $12.50 for it. ",
    "digits": "4",
    "random digits": "".join(CHANCE.choices("0123456789", k=MEGABYTE)),
    "dots": ".",
    "base64": base64.b64encode(CHANCE.randbytes(MEGABYTE)).decode(),
    "a@a@a@": "a@",
    "a.a.a.": "a@" + "a." * 500_000,
    "heads of tokens": "eyJ",
    "1 2 3 4": "1 2 3 4 ",
    "groups of four": "4111 ",
    "a mixture of groups": "1234 5678-9012 3456 ",
    "cards that are none": "4111111111111112 4111 1111 1111 1112x3782 822463 10006 ",
    "numbers of 9": "123-45-0000 ",
}


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, best of 5")
    for name, unit in TEXTS.items():
        text = (unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE]
        half = text[: MEGABYTE // 2]
        whole, part = (
            min(timeit.repeat(lambda t=t: analyze_text(t), number=1)) for t in (text, half)
        )
        print(f"{name:18} {whole * 1e3:7.1f} ms    {whole / part:.1f} × half of it")


if __name__ == "__main__":
    main()
