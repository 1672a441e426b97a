"""The words of a script: what the fake model answers, what it was asked, what it charged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from budget_core.testing.gate import Gate

Api: TypeAlias = Literal[
    "chat",
    "responses",
    "completions",
    "embeddings",
    "messages",
    "gemini",
    "tokens",
    "moderations",
    "images",
    "speech",
    "transcriptions",
    "batches",
]
"""What is asked for; "tokens" only counts them, with Anthropic or Google."""


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model calls: its arguments as a mapping, or as the raw JSON it wrote."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @cached_property
    def json(self) -> str:
        """The arguments as JSON text."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


@dataclass(frozen=True)
class Reply:
    """What the provider answers to one request, and how it behaves while doing so.

    Tokens are per choice, except those of the input; None lets the provider count them.
    """

    text: str = ""
    """The answer, or the message of an error. Empty with ``output_tokens``: filler text."""
    tool_calls: Sequence[ToolCall] = ()
    input_tokens: int | None = None
    """All input tokens, with those that were read from or written to the cache."""
    output_tokens: int | None = None
    """All output tokens, with those of the reasoning."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    """Anthropic only: tokens written to the cache, billed at the write price."""
    reasoning_tokens: int = 0
    """Output beside the text, added to it unless ``output_tokens`` is given.

    It is not shown, except where an Anthropic request asks for thinking.
    """
    delay: float = 0.0
    """Seconds before the first byte."""
    chunk_delay: float = 0.0
    """Seconds between the chunks of a stream."""
    status: int = 200
    """From 400 on: an error in the provider's own shape, free unless ``billed``."""
    billed: bool = False
    """Charge for an error too, as if the work had been done."""
    retry_after: float | None = None
    """Seconds, sent as ``retry-after`` and ``retry-after-ms``; 0 makes SDKs retry at once."""
    drop_after: int | None = None
    """Abort the connection after that many chunks with a token; a plain reply after the work."""
    usage: bool = True
    """False: nothing is said about usage, and billed all the same."""
    service_tier: str | None = None
    """Echoed and billed, whatever was asked for; None grants what the request asks for."""
    ignores_cap: bool = False
    """A rogue provider: writes on past the caller's cap, and bills it."""
    searches: int = 0
    """Web searches on the way, told as the API does, and billed beside the tokens."""
    retell: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Tells the usage in another way than the API's, as a gateway may."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers of the answer."""
    gate: Gate | threading.Event | None = None
    """Held back until it is open."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        numbers = (self.input_tokens, self.output_tokens, self.cached_tokens, self.delay)
        more = (self.cache_write_tokens, self.reasoning_tokens, self.chunk_delay, self.drop_after)
        if any(number is not None and number < 0 for number in (*numbers, *more)):
            raise ValueError("tokens and delays of a Reply cannot be negative")
        cached = self.cached_tokens + self.cache_write_tokens
        if self.input_tokens is not None and cached > self.input_tokens:
            raise ValueError(f"{cached} cached tokens, but only {self.input_tokens} of input")
        if self.output_tokens is not None and self.reasoning_tokens > self.output_tokens:
            raise ValueError(
                f"{self.reasoning_tokens} reasoning tokens, but only {self.output_tokens} of output"
            )


@dataclass(frozen=True)
class Incoming:
    """A request as a fake model sees it."""

    index: int
    """Its number in the order of arrival, from 0."""
    path: str
    api: Api
    model: str
    body: Mapping[str, Any]
    messages: list[dict[str, str]]
    """Role and text of each message, the same shape for every API; system prompts first."""
    tools: tuple[str, ...]
    """The names of the tools that the model may call."""
    stream: bool
    n: int
    """How many choices are asked for, over all prompts."""
    output_cap: int | None
    """The largest number of output tokens of one choice."""
    input_tokens: int
    """By the provider's own rule."""
    query: Mapping[str, str] = field(default_factory=dict)
    """What stood behind the question mark, without the credentials."""

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return self.messages[-1]["content"] if self.messages else ""


@dataclass(frozen=True)
class Bill:
    """One request that reached the provider, and what it owes for it."""

    index: int
    path: str
    model: str = ""
    """As it was asked for; "batch" for a batch, whatever its models."""
    status: int = 0
    """The HTTP status; 0 while there is no answer yet, or if the client left before it."""
    streamed: bool = False
    n: int = 1
    input_tokens: int = 0
    """All of them, with those that were read from or written to the cache.

    No tokens are billed where a fee is: for an image of DALL-E, say, or a count of tokens.
    """
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """Over all choices, with those of the reasoning."""
    reasoning_tokens: int = 0
    output_cap: int | None = None
    service_tier: str = "default"
    nanos: int = 0
    """Nano-dollars."""
    searches: int = 0
    aborted: bool = False
    """The client went away before the end."""
    dropped: bool = False
    """The provider broke the connection on purpose."""
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """As received, without the credentials."""

    @property
    def cost(self) -> float:
        """Dollars."""
        return self.nanos / 1e9
