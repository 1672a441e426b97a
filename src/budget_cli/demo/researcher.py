"""The scripted model: it reads on for as long as it has tools, and answers once it has none.

It keeps no state. Like a real model it knows what stands in the request and nothing else, so what
it answers at the end is made of the documents that it was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from budget_core.testing import Incoming, Reply, ToolCall

ANGLES: Final = (
    ("battery conversion price", "The first thing to know is what a yard asks for the conversion."),
    ("diesel fuel cost a year", "A price means little without the cost of going on as today."),
    ("charger grid connection quay", "The ship has to be charged, so I need the grid's side."),
    ("winter consumption kWh crossing", "The yard quotes calm weather; I want measured figures."),
    ("grant share of eligible costs", "A grant could change the sum; I will look at its rules."),
    ("crew training fire safety", "The offer may leave out training and safety equipment."),
    ("traffic forecast and timetable", "Demand decides whether the investment lasts."),
    ("guarantee and replacement cells", "I should check how long the battery is guaranteed."),
)
DOUBTS: Final = ("", "second source for ", "contradictions on ", "newest figures on ", "risks of ")
_FOUND: Final = re.compile(r"^\d+\. (\S+\.md): ", re.MULTILINE)
_SENTENCE: Final = re.compile(r"(?<=[a-z0-9%)][.!?])\s+(?=[A-Z])")
_FIGURE: Final = re.compile(r"\$[\d.,]+(?: million)?|\d[\d.,]* (?:%|kWh|kW|months|years|hours)")
_TELLING: Final = 2


@dataclass(frozen=True, slots=True)
class Notes:
    """What a conversation holds: tool calls so far, and documents read, by title."""

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    found: tuple[str, ...]
    documents: Mapping[str, str]
    told_to_stop: bool

    @classmethod
    def of(cls, incoming: Incoming) -> Notes:
        results = [m["content"] for m in incoming.messages if m["role"] == "tool"]
        found = [name for text in results[-1:] for name in _FOUND.findall(text)]
        documents = {
            text.partition("\n")[0].removeprefix("# "): text
            for text in results
            if text.startswith("# ")
        }
        last = incoming.messages[-1]["role"] if results else ""
        stopped = not incoming.tools or incoming.body.get("tool_choice") == "none"
        calls = tuple(_calls(incoming.body.get("messages") or ()))
        return cls(calls, tuple(found), documents, stopped or last == "user")

    @property
    def read(self) -> list[str]:
        return [str(given.get("name")) for name, given in self.calls if name == "read_document"]


class Researcher:
    """A responder for `budget_core.testing.Provider`; `pace` is seconds before each answer."""

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace

    def __call__(self, incoming: Incoming) -> Reply:
        notes = Notes.of(incoming)
        if notes.told_to_stop:
            return Reply(summary(notes), delay=self.pace)
        thought, call = next_step(notes)
        return Reply(thought, tool_calls=[call], delay=self.pace)


def next_step(notes: Notes) -> tuple[str, ToolCall]:
    """Return the next thing to look up; there always is one."""
    if notes.found:
        name = min(notes.found, key=notes.read.count)
        again = " again, to compare its figures with the others" if name in notes.read else ""
        thought = (
            f"{name} looks relevant. I will read it in full{again} before I conclude anything."
        )
        return thought, ToolCall("read_document", {"name": name})
    turn = len(notes.calls) // 2
    query, reason = ANGLES[turn % len(ANGLES)]
    lap = turn // len(ANGLES)
    doubt = DOUBTS[lap] if lap < len(DOUBTS) else f"check {lap} of "
    thought = f"{reason} I will search for it, and then compare it with what I have read so far."
    return thought, ToolCall("search_documents", {"query": f"{doubt}{query}"})


def summary(notes: Notes) -> str:
    count = len(notes.documents)
    if not count:
        return "I had no opportunity to read any document, so I cannot answer the question yet."
    points = [f"- {title}: {telling(text)}" for title, text in notes.documents.items()]
    return "\n".join(
        [
            f"Conversion looks feasible, on the {count} document{'s' * (count > 1)} I could read:",
            *points,
            "What I did not get to read may change this; treat the sum as preliminary.",
        ]
    )


def telling(text: str) -> str:
    body = " ".join(text.split("\n\n", 2)[-1].split())
    sentences = _SENTENCE.split(body)
    best = sorted(sentences, key=lambda s: len(_FIGURE.findall(s)) / len(s) ** 0.5, reverse=True)
    return " ".join(s for s in sentences if s in best[:_TELLING])


def _calls(messages: Any) -> list[tuple[str, Mapping[str, Any]]]:
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    return [(call["name"], json.loads(call["arguments"])) for call in calls]
