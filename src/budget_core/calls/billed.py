"""Prompts whose true input is known, as they were billed."""

from __future__ import annotations

from threading import RLock
from typing import Any, NamedTuple

from budget_core.calls.prompt import _EXTRA, UNSEEN_TOKENS, Prompt, _sum, measure, snapshot


class Bound(NamedTuple):
    """The most input `tokens` that a request can be billed for.

    Attributes:
        one_hour: a part of it may be written to a cache for an hour.
        audio: a part of it is audio, or the answer is to be.
    """

    tokens: int
    one_hour: bool = False
    audio: bool = False


class _Billed(NamedTuple):
    model: str
    context: Any
    messages: list[Any]
    tokens: int


class BilledPrompts:
    """The last prompts whose true input is known: what a longer one starts with is not guessed.

    In an agent's loop each prompt is the last one and a little more, so the bound is nearly
    exact. Comparing is exact (no hashes) and quick: strings that an agent hands on unchanged
    are the same objects.

    Attributes:
        one_hour: a part of one of them may have been written to a cache for an hour.
    """

    def __init__(self, keep: int = 32) -> None:
        self.one_hour = False
        self._keep = keep
        self._known: tuple[_Billed, ...] = ()
        self._lock = RLock()  # a finalizer may settle a call in here

    def bound(self, model: str, prompt: Prompt) -> Bound | None:
        """Return the most input tokens of `prompt`, if a known one begins it, else None.

        Where tools or formats have changed since, the new ones are measured as well: what the
        known prompt was billed for covers its messages in any case.
        """
        known = self._longest(model, prompt) or self._longest(model, prompt, any_context=True)
        if known is None:
            return None
        if len(known.messages) == len(prompt.messages) and known.context == prompt.context:
            return tuple.__new__(Bound, (known.tokens, False, False))
        added = [measure(message) for message in prompt.messages[len(known.messages) :]]
        extra = _EXTRA * len(added)
        if known.context != prompt.context:
            added.append(measure(prompt.context))
            extra += UNSEEN_TOKENS
        size = _sum(added)
        if size.unbounded:
            return None
        return Bound(known.tokens + size.tokens(model) + extra, size.one_hour, size.audio)

    def remember(self, model: str, prompt: Prompt, tokens: int) -> None:
        start = self._longest(model, prompt)
        if start and start.tokens == tokens and len(start.messages) == len(prompt.messages):
            return
        have = start.messages if start else []
        messages = have + [snapshot(message) for message in prompt.messages[len(have) :]]
        context = start.context if start else snapshot(prompt.context)
        with self._lock:
            others = [known for known in self._known if known is not start]
            billed = _Billed(model, context, messages, tokens)
            self._known = (billed, *others[: self._keep - 1])

    def _longest(self, model: str, prompt: Prompt, *, any_context: bool = False) -> _Billed | None:
        best: _Billed | None = None
        for known in self._known:
            length = len(known.messages)
            if (
                known.model == model
                and length <= len(prompt.messages)
                and (best is None or length > len(best.messages))
                and known.messages == list(prompt.messages[:length])
                and (any_context or known.context == prompt.context)
            ):
                best = known
        return best
