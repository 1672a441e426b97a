"""What an SDK's request asks for, and how a cap is put into it: one description an API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from budget_core.calls.prompt import Prompt, measure, unbounded_in
from budget_core.calls.request import CallRequest
from budget_core.money.prices.output_limits import is_reasoning
from budget_core.sdk.hosts import UNKNOWN, Server
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
        caps: parameters that cap the answer; those that the caller used are lowered.
        heeded: returns those that a server is known to heed for a request, the best one first;
            none if that is not known. Without it, all of `caps` are heeded everywhere.
        fallback: returns the parameter to cap with where that is not known, by the model.
        default_cap: the cap of those whose API this is where the caller gives none.
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
    heeded: Callable[[Mapping[str, Any], Server], tuple[str, ...]] | None = None
    fallback: Callable[[str], str] | None = None
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

    def read(self, body: Mapping[str, Any], server: Server | None) -> CallRequest:
        server = server or UNKNOWN
        get, provider = body.get, server.provider
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
        default = self.default_cap if provider in self.own else None
        bounded = server.bounds_thoughts or not is_reasoning(model)
        counts = _numbers(body, self.counts) if self.counts else {}
        prompt: Prompt = tuple.__new__(Prompt, (messages, context))
        return CallRequest(
            model=model,
            provider=provider,
            prompt=prompt,
            output_cap=(min(caps.values(), default=default) if bounded else None)
            if self.answers
            else 0,
            n=max([1, *counts.values()]) * (_prompts(messages) if self.prompts else 1),
            tier="fast" if get("speed") == "fast" else get("service_tier") or get("serviceTier"),
            fingerprint=(model, list(messages[-2:])) if self.answers else None,
            least=0 if self.least is None else self.least(body),
            unbounded=unbounded,
            bounded=bounded,
            region=get("inference_geo") or server.region,
            beside=measure(rejected).text if (rejected := get("prediction")) else 0,
        )

    def capped(self, body: Body, cap: int, server: Server) -> Body:
        """Return a body with a cap, in the parameter that the server heeds."""
        if not self.caps:
            return body
        used = _numbers(body, self.caps)
        lowest = min([cap, *used.values()])
        known = self.caps if self.heeded is None else self.heeded(body, server)
        heeded = not used.keys().isdisjoint(known) if known else bool(used)
        if heeded and lowest == max(used.values()):
            return body
        model = str(body.get("model") or "")
        best = known[0] if known or self.fallback is None else self.fallback(model)
        for name in used if heeded else [*used, best]:
            body = _with(body, name.split("."), lowest)
        return body if self.adjust is None else self.adjust(body, lowest)

    def binds(self, body: Mapping[str, Any], server: Server) -> bool:
        """Return whether a server is known to end an answer at a cap."""
        model = str(body.get("model") or "")
        bounded = server.bounds_thoughts or not is_reasoning(model)
        return bounded and (self.heeded is None or bool(self.heeded(body, server)))

    def with_usage(self, body: Body) -> Body:
        options = body.get("stream_options") or {}
        return {**body, "stream_options": {**options, "include_usage": True}}

    def silent(self, body: Mapping[str, Any], server: Server = UNKNOWN) -> bool:
        """Return whether a stream is asked for without a word on its usage."""
        if not (self.asks_usage and server.asked and body.get("stream")):
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
