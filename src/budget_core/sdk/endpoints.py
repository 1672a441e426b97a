"""What an SDK's request asks for, and how a cap is put into it: one description an API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from budget_core.calls.prompt import Prompt, unbounded_in
from budget_core.calls.request import CallRequest
from budget_core.sdk.stream_events import CHAT, StreamFormat

Body: TypeAlias = dict[str, Any]

_NO_INPUT: Final = frozenset(
    {
        "messages", "input", "prompt", "contents", "model", "stream", "stream_options",
        "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "n",
        "best_of", "temperature", "top_p", "top_k", "seed", "user", "metadata", "store",
        "service_tier", "logprobs", "top_logprobs", "stop", "stop_sequences", "frequency_penalty",
        "presence_penalty", "logit_bias", "parallel_tool_calls", "prompt_cache_key",
        "safety_identifier", "timeout", "thinking", "anthropic_version", "anthropic_beta",
    }
)  # fmt: skip
"""Parameters that no provider counts as input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One API of a provider, as far as money is concerned.

    A parameter inside of another one is named with a dot (``generationConfig.maxOutputTokens``).

    Attributes:
        messages: the body's parameter with the conversation.
        caps: parameters that cap the answer; the first that the caller used is lowered.
        cap_for: the parameter to cap with where the caller used none.
        default_cap: the provider's own cap where the caller gives none, if it has one.
        counts: parameters that multiply the answers.
        prompts: each of several prompts is answered.
        answers: it answers in tokens; embeddings do not.
        asks_usage: its streams tell their usage only if asked (``stream_options``).
        stream_format: what the events of its streams tell.
        least: the shortest answer that a body can be capped at, in tokens.
        adjust: changes a body that has been capped, to keep the provider's rules.
        beyond: what it is billed for that no worst case covers; it then runs only if that is
            allowed, and is recorded as unpriced unless it tells a usage that has a price.
        unbounded: names what in a body has no bound, beside what `measure` finds.
        own: the providers whose API this is: of a parameter that these add, more is known to them.
        known: parameters that mean no more than their size, wherever this API is spoken. Another
            one at another provider has no bound: servers put searches and plugins there.
    """

    messages: str = ""
    caps: tuple[str, ...] = ()
    cap_for: Callable[[str, str | None], str] | None = None
    default_cap: int | None = None
    counts: tuple[str, ...] = ()
    prompts: bool = False
    answers: bool = True
    asks_usage: bool = False
    stream_format: StreamFormat = CHAT
    least: Callable[[Mapping[str, Any]], int] | None = None
    adjust: Callable[[Body, int], Body] | None = None
    beyond: str | None = None
    unbounded: Callable[[Mapping[str, Any]], str | None] = unbounded_in
    own: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()

    def read(self, body: Mapping[str, Any], provider: str | None) -> CallRequest:
        get = body.get
        model = str(get("model") or "")
        if self.beyond is not None:
            return CallRequest(
                model=model or self.beyond,
                provider=provider,
                input_tokens=0,
                output_cap=0,
                unbounded=self.beyond,
                unpriced=True,
            )
        messages = get(self.messages)
        if not isinstance(messages, list | tuple):
            messages = [messages]
        context = dict(body)
        for key in body.keys() & _NO_INPUT:
            del context[key]
        unbounded = self.unbounded(body)
        if self.known and provider not in self.own and (strange := context.keys() - self.known):
            unbounded = unbounded or _strange(strange, context)
        caps = _numbers(body, self.caps)
        counts = _numbers(body, self.counts) if self.counts else {}
        prompt: Prompt = tuple.__new__(Prompt, (messages, context))
        return CallRequest(
            model=model,
            provider=provider,
            prompt=prompt,
            output_cap=min(caps.values(), default=self.default_cap) if self.answers else 0,
            n=max([1, *counts.values()]) * (_prompts(messages) if self.prompts else 1),
            tier="fast" if get("speed") == "fast" else get("service_tier") or get("serviceTier"),
            fingerprint=(model, list(messages[-2:])) if self.answers else None,
            least=0 if self.least is None else self.least(body),
            unbounded=unbounded,
        )

    def capped(self, body: Body, cap: int, provider: str | None) -> Body:
        if self.cap_for is None:
            return body
        used = _numbers(body, self.caps)
        lowest = min([cap, *used.values()])
        if used and lowest == max(used.values()):
            return body
        for name in used or [self.cap_for(str(body.get("model") or ""), provider)]:
            body = _with(body, name.split("."), lowest)
        return body if self.adjust is None else self.adjust(body, lowest)

    def with_usage(self, body: Body) -> Body:
        options = body.get("stream_options") or {}
        return {**body, "stream_options": {**options, "include_usage": True}}

    def silent(self, body: Mapping[str, Any]) -> bool:
        """Return whether a stream is asked for without a word on its usage."""
        if not (self.asks_usage and body.get("stream")):
            return False
        options = body.get("stream_options") or {}
        return isinstance(options, Mapping) and options.get("include_usage") is None


def _strange(names: Iterable[str], context: Mapping[str, Any]) -> str | None:
    given = sorted(name for name in names if context[name])
    return f"a parameter that this API does not have ({given[0]})" if given else None


def _prompts(messages: Sequence[Any]) -> int:
    one = not messages or isinstance(messages[0], int)  # one of tokens
    return 1 if one else len(messages)


def _numbers(body: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    """Return those of these parameters that are given a number."""
    given = {}
    for name in names:
        key, *deeper = name.split(".")
        value = body.get(key)
        for inside in deeper:
            value = value.get(inside) if isinstance(value, Mapping) else None
        if isinstance(value, int):
            given[name] = value
    return given


def _with(body: Mapping[str, Any], path: Sequence[str], value: int) -> Body:
    """Return a copy with one parameter set; what was nested in it is copied as well."""
    key, *deeper = path
    inside = body.get(key)
    held = inside if isinstance(inside, Mapping) else {}
    return {**body, key: _with(held, deeper, value) if deeper else value}


@dataclass(frozen=True, slots=True)
class Api:
    """A provider's API: what is billed, what is free; anything else has no bound.

    Attributes:
        endpoints: by the end of their path.
        free: matches the paths of what is not billed by the request.
    """

    endpoints: Mapping[str, Endpoint]
    free: re.Pattern[str]
    _found: dict[str, Endpoint] = field(default_factory=dict, init=False)

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """Return what a request is billed as, None if it is free."""
        if method.lower() != "post":
            return None
        if (known := self._found.get(url)) is not None:
            return known
        path = urlsplit(url).path.rstrip("/")
        for suffix, endpoint in self.endpoints.items():
            if path.endswith(suffix):
                self._found[url] = endpoint
                return endpoint
        return None if self.free.search(path) else Endpoint(beyond=f"POST {path}")
