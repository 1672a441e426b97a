"""From a scripted reply to what is really written: cut to the cap, and counted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from budget_core.testing.tokens import TOKEN_BYTES, count, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.reply import Incoming, Reply

FILLER = "tok "


class Step(NamedTuple):
    """What is written in one go: a thought, text, the head of a tool call, a piece of arguments."""

    kind: Literal["thinking", "text", "call", "arguments"]
    call: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as far as it was written."""

    id: str
    name: str
    arguments: str

    @property
    def parsed(self) -> Any:
        """The arguments; none if the cap cut them, so that they are no JSON."""
        try:
            return json.loads(self.arguments)
        except ValueError:
            return {}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one request, over all of its choices."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice as it is written, and what all choices take."""

    incoming: Incoming
    reply: Reply
    tier: str
    text: str
    calls: tuple[Call, ...]
    visible: int
    """Tokens of one choice, without reasoning."""
    reasoning: int
    """Reasoning tokens of one choice."""
    cut: bool
    """The cap ended it."""
    thinks_aloud: bool = False
    """The reasoning is written like the text, not hidden."""

    @property
    def written(self) -> int:
        return (self.visible + (self.reasoning if self.thinks_aloud else 0)) * self.incoming.n

    def usage(self, shown: int | None = None) -> Usage:
        """Return the tokens of all choices, if this many were seen written (None: all)."""
        reply, n = self.reply, self.incoming.n
        read = input_tokens(self.incoming, reply)
        cached = min(reply.cached_tokens, read)
        writes = reply.cache_write_tokens if self.incoming.api == "messages" else 0
        reasoning = self.reasoning * n
        seen = self.written if shown is None else shown
        if self.thinks_aloud:
            output, reasoning = seen, min(seen, reasoning)
        else:
            output = reasoning + seen
        return Usage(read, cached, min(writes, read - cached), output, reasoning)

    def told(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Return a usage as it is told: as the API does, or in another way."""
        retell = self.reply.retell
        return usage if retell is None else dict(retell(usage))

    def steps(self) -> Iterator[Step]:
        if self.thinks_aloud:
            yield from repeat(Step("thinking", 0, FILLER, 1), self.reasoning)
        for number, (kind, call, text) in enumerate(self._padded()):
            yield Step(kind, call, text, 1 if number < self.visible else 0)

    def _padded(self) -> Iterator[tuple[Literal["text", "call", "arguments"], int, str]]:
        written = list(_natural(self.text, self.calls))
        missing = max(0, self.visible - len(written))
        last = len(self.calls) - 1
        pad: tuple[Literal["text", "arguments"], int, str] = (
            ("arguments", last, "") if self.calls else ("text", 0, "")
        )
        return chain(written, repeat(pad, missing))


def block_of(step: Step) -> int:
    """Return the content block that a step belongs to: its tool call, or a negative number."""
    return {"thinking": -2, "text": -1}.get(step.kind, step.call)


def input_tokens(incoming: Incoming, reply: Reply) -> int:
    """Return the billed input: what the script says, or what was counted."""
    return incoming.input_tokens if reply.input_tokens is None else reply.input_tokens


def compose(incoming: Incoming, reply: Reply, tier: str) -> Answer:
    calls = _calls(incoming, reply)
    text = reply.text
    natural = count(text) + sum(1 + count(call.arguments) for call in calls)
    wanted = natural if reply.output_tokens is None else reply.output_tokens
    if reply.output_tokens is None:
        wanted += reply.reasoning_tokens
    elif not text and not calls:
        text = FILLER * (wanted - reply.reasoning_tokens)
    cap = None if reply.ignores_cap else incoming.output_cap
    total = wanted if cap is None else min(wanted, cap)
    reasoning = min(reply.reasoning_tokens, total)
    visible = total - reasoning
    cut = total < wanted
    if cut:
        text, calls = _cut(text, calls, visible)
    return Answer(incoming, reply, tier, text, calls, visible, reasoning, cut)


def nothing(incoming: Incoming, reply: Reply, tier: str, tokens: int = 0) -> Answer:
    """Return an answer without words: vectors, counts; images take tokens all the same."""
    return Answer(incoming, reply, tier, "", (), tokens, 0, cut=False)


def _calls(incoming: Incoming, reply: Reply) -> tuple[Call, ...]:
    if incoming.api == "completions":
        return ()
    return tuple(
        Call(call.id or f"call_{incoming.index}_{number}", call.name, call.json)
        for number, call in enumerate(reply.tool_calls)
    )


def _natural(
    text: str, calls: tuple[Call, ...]
) -> Iterator[tuple[Literal["text", "call", "arguments"], int, str]]:
    for piece in pieces(text):
        yield "text", 0, piece
    for number, call in enumerate(calls):
        yield "call", number, call.name
        for piece in pieces(call.arguments):
            yield "arguments", number, piece


def _cut(text: str, calls: tuple[Call, ...], visible: int) -> tuple[str, tuple[Call, ...]]:
    if text.isascii() and len(text) >= visible * TOKEN_BYTES:
        return text[: visible * TOKEN_BYTES], ()
    kept = list(islice(_natural(text, calls), visible))
    heads = [step[1] for step in kept if step[0] == "call"]
    return (
        "".join(step[2] for step in kept if step[0] == "text"),
        tuple(
            Call(
                calls[head].id,
                calls[head].name,
                "".join(s[2] for s in kept if s[0] == "arguments" and s[1] == head),
            )
            for head in heads
        ),
    )
