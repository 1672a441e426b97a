"""Google's responses: candidates, and the usage that goes with every one of them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from budget_core.testing.answer import block_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer, Call, Step
    from budget_core.testing.wire import Json


def whole(answer: Answer) -> Json:
    text = [{"text": answer.text}] if answer.text else []
    parts = [*text, *(_function_call(call) for call in answer.calls)]
    indices = range(answer.incoming.n)
    return _response(answer, [_ended(answer, index, parts) for index in indices], None)


def chunks(answer: Answer) -> Iterator[tuple[Json, int]]:
    """Yield responses with the next token or function call in each, and how many tokens it took.

    Each tells the usage so far; the last of each candidate says why it ended.
    """
    written = 0
    indices = range(answer.incoming.n)
    for _, steps in groupby(answer.steps(), key=block_of):
        for part, tokens in _parts(answer, steps):
            for index in indices:
                written += tokens
                yield _response(answer, [_candidate(index, [part])], written), tokens
    for index in indices:
        yield _response(answer, [_ended(answer, index, [{"text": ""}])], written), 0


def _parts(answer: Answer, steps: Iterator[Step]) -> Iterator[tuple[Json, int]]:
    opening = next(steps)
    if opening.kind == "call":
        tokens = opening.tokens + sum(step.tokens for step in steps)
        yield _function_call(answer.calls[opening.call]), tokens
        return
    for step in (opening, *steps):
        yield {"text": step.text}, step.tokens


def _function_call(call: Call) -> Json:
    return {"functionCall": {"id": call.id, "name": call.name, "args": call.parsed}}


def _candidate(index: int, parts: list[Json]) -> Json:
    content: Json = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    return {"content": content, "index": index}


def _ended(answer: Answer, index: int, parts: list[Json]) -> Json:
    reason = "MAX_TOKENS" if answer.cut else "STOP"
    queries = [f"salt {number}" for number in range(answer.reply.searches)]
    grounded = {"groundingMetadata": {"webSearchQueries": queries}} if queries else {}
    return {**_candidate(index, parts), "finishReason": reason, **grounded}


def _response(answer: Answer, candidates: list[Json], shown: int | None) -> Json:
    incoming = answer.incoming
    told = {"usageMetadata": _usage(answer, shown)} if answer.reply.usage else {}
    named = {"modelVersion": incoming.model, "responseId": f"response_{incoming.index}"}
    return {"candidates": candidates, **told, **named}


def _usage(answer: Answer, shown: int | None) -> Json:
    usage = answer.usage(shown)
    counts = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
    details = [{"modality": "TEXT", "tokenCount": usage.input}]
    # Google leaves out what is zero
    told = {name: number for name, number in counts.items() if number}
    return answer.told({**told, "promptTokensDetails": details})
