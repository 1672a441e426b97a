"""The documents that the agent reads, and the search over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_SNIPPET: Final = 220
_WORD: Final = re.compile(r"[a-z]{3,}|\d[\d,.]*")


@dataclass(frozen=True, slots=True)
class Library:
    """Documents by their file names."""

    texts: Mapping[str, str]

    def search(self, query: str, most: int = 3) -> str:
        wanted = _words(query)
        ranked = sorted(self.texts, key=lambda name: (-_score(self.texts[name], wanted), name))
        return "\n".join(
            f"{place}. {name}: {title(self.texts[name])}\n   … {self._passage(name, wanted)} …"
            for place, name in enumerate(ranked[:most], 1)
        )

    def read(self, name: str) -> str:
        return self.texts.get(name) or f"No document {name!r}. There are: {', '.join(self.texts)}."

    def _passage(self, name: str, wanted: set[str]) -> str:
        paragraphs = self.texts[name].split("\n\n")[1:]
        best = max(paragraphs, key=lambda text: _score(text, wanted))
        return " ".join(best.split())[:_SNIPPET]


@cache
def shipped() -> Library:
    folder = files("budget_cli").joinpath("demo_documents")
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return Library({f.name: f.read_text(encoding="utf-8") for f in found if f.name.endswith(".md")})


def title(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _score(text: str, wanted: set[str]) -> float:
    found = _WORD.findall(text.lower())
    return sum(word in wanted for word in found) / (len(found) + 20)
