"""The tokens of an answer, as each provider and gateway writes them."""

from __future__ import annotations

from typing import Any, Final

from budget_core.calls.fields import Get, camel_case, counts, getter, items
from budget_core.money.usage import TIERS, Usage
from budget_core.runtime.signals import pass_on


def read_usage(usage: Any) -> Usage | None:
    """Read the usage part of a response; None if it does not say. Never raises."""
    try:
        if isinstance(usage, Usage):
            return _whole(*counts(*usage))
        get = getter(usage)
        if type(get("prompt_tokens")) is int:
            return _chat(get)
        if type(get("input_tokens")) is int:
            return _input_and_output(get)
        if type(get("prompt_token_count")) is int or type(get("total_token_count")) is int:
            return _gemini(get)
        camel = type(get("promptTokenCount")) is int or type(get("totalTokenCount")) is int
        return _gemini(lambda key: get(camel_case(key))) if camel else None
    except Exception as error:  # noqa: BLE001  whatever a foreign object's attributes may raise
        pass_on(error)
        return None


def _chat(get: Get) -> Usage | None:
    """Read OpenAI's counts, and what gateways and other servers tell in places of their own."""
    prompt, completion, total = get("prompt_tokens"), get("completion_tokens"), get("total_tokens")
    if completion is None and type(total) is int:  # embeddings
        completion = total - prompt
    before = getter(get("prompt_tokens_details") or get("prompt_token_details"))
    after = getter(get("completion_tokens_details"))
    reasoning, audio_in, audio_out, text_in, text_out, audio_read, *cached = counts(
        after("reasoning_tokens"), before("audio_tokens"), after("audio_tokens"),
        before("text_tokens"), after("text_tokens"), before("cached_audio_tokens"),
        before("cached_tokens"), *map(get, _READ),
        before("cache_write_tokens"), before("cache_creation_tokens"), *map(get, _WRITTEN),
    )  # fmt: skip
    reads = len(_READ) + 1
    read, write, hour = max(cached[:reads]), max(cached[reads:]), 0
    if (ages := before("cache_creation_token_details") or get("cache_creation")) is not None:
        hour, minutes = _ages(getter(ages))
        write = max(write, hour + minutes)
    if get("prompt_audio_seconds") and type(total) is type(completion) is int:
        audio_in = max(audio_in, total - completion - prompt)  # Mistral tells audio beside it
        prompt = max(prompt, total - completion)
    parts = read, write, reasoning, hour, audio_in, audio_out, text_in, text_out, audio_read
    return _whole(prompt, completion, *parts, total=total)


def _input_and_output(get: Get) -> Usage | None:
    """Read what calls its counts by names that LangChain, Anthropic and OpenAI all have."""
    if get("input_token_details") is not None:
        return _langchain(get)
    for key in _ANTHROPIC:
        if get(key) is not None:
            return _anthropic(get)
    return _openai_responses(get)


def _openai_responses(get: Get) -> Usage | None:
    before, after = getter(get("input_tokens_details")), getter(get("output_tokens_details"))
    read, write, reasoning, thinking, audio_in, audio_out, text_in, text_out = counts(
        before("cached_tokens"), before("cache_write_tokens"),
        after("reasoning_tokens"), after("thinking_tokens"),
        before("audio_tokens"), after("audio_tokens"),
        before("text_tokens"), after("text_tokens"),
    )  # fmt: skip
    parts = read, write, reasoning or thinking, 0, audio_in, audio_out, text_in, text_out
    total = get("total_tokens")
    return _whole(get("input_tokens"), get("output_tokens"), *parts, total=total)


def _anthropic(get: Get) -> Usage | None:
    aged, details = getter(get("cache_creation")), getter(get("output_tokens_details"))
    read, write, hour, minutes, thinking = counts(
        get("cache_read_input_tokens"), get("cache_creation_input_tokens"),
        aged("ephemeral_1h_input_tokens"), aged("ephemeral_5m_input_tokens"),
        details("thinking_tokens"),
    )  # fmt: skip
    write = max(write, hour + minutes)
    whole = get("input_tokens") + read + write
    return _whole(whole, get("output_tokens"), read, write, thinking, hour)


def _ages(get: Get) -> list[int]:
    """Return the tokens that were written to a cache for an hour, and for five minutes."""
    return counts(get("ephemeral_1h_input_tokens"), get("ephemeral_5m_input_tokens"))


def _gemini(get: Get) -> Usage | None:
    """Read Gemini's counts, which leave out zeros; thoughts and tool prompts are beside them."""
    prompt, of_tools, answer, thoughts, cached = counts(
        get("prompt_token_count"), get("tool_use_prompt_token_count"),
        get("candidates_token_count"), get("thoughts_token_count"),
        get("cached_content_token_count"),
    )  # fmt: skip
    text_in, audio_in = _modalities(
        *items(get("prompt_tokens_details")), *items(get("tool_use_prompt_tokens_details"))
    )
    text_out, audio_out = _modalities(*items(get("candidates_tokens_details")))
    _, audio_read = _modalities(*items(get("cache_tokens_details")))
    parts = cached, 0, thoughts, 0, audio_in, audio_out, text_in, text_out + thoughts, audio_read
    return _whole(prompt + of_tools, answer + thoughts, *parts, total=get("total_token_count"))


def _modalities(*details: Any) -> tuple[int, int]:
    """Return the tokens that are told to be text, and those that are audio."""
    told = {"TEXT": 0, "AUDIO": 0}
    for entry in details:
        get = getter(entry)
        modality = get("modality")
        kind = str(getattr(modality, "value", modality)).upper()
        if kind in told:
            snake, camel = counts(get("token_count"), get("tokenCount"))
            told[kind] += snake or camel
    return told["TEXT"], told["AUDIO"]


def _langchain(get: Get) -> Usage | None:
    """Read LangChain's counts; OpenAI's transcriptions call theirs nearly so."""
    before, after = getter(get("input_token_details")), getter(get("output_token_details"))

    def tiered(part: Get, key: str) -> int:
        return sum(counts(part(key), *(part(f"{tier}_{key}") for tier in TIERS)))

    hour, minutes = _ages(before)
    cached, text_in, text_out, *audio = counts(
        before("cached_tokens"), before("text_tokens"), after("text_tokens"),
        before("audio"), before("audio_tokens"), after("audio"), after("audio_tokens"),
    )  # fmt: skip
    return _whole(
        get("input_tokens"),
        get("output_tokens"),
        max(cached, tiered(before, "cache_read")),
        tiered(before, "cache_creation") + hour + minutes,
        tiered(after, "reasoning"),
        hour,
        max(audio[:2]),
        max(audio[2:]),
        text_in,
        text_out,
        total=get("total_tokens"),
    )


def _whole(
    before: int,
    after: Any,
    read: int = 0,
    write: int = 0,
    reasoning: int = 0,
    hour: int = 0,
    audio_in: int = 0,
    audio_out: int = 0,
    text_in: int = 0,
    text_out: int = 0,
    audio_read: int = 0,
    *,
    total: Any = None,
) -> Usage | None:
    """Build a Usage whose parts fit: a whole smaller than its parts left them out, so it grows.

    Some providers show hidden reasoning only in the `total`.
    """
    if type(after) is not int or before < 0 or after < 0:
        return None
    if type(total) is int:
        after = max(after, total - before)
    before = max(before, read + write)
    after = max(after, reasoning)
    if not before and not after:
        return None
    audio_in, audio_out, hour = min(audio_in, before), min(audio_out, after), min(hour, write)
    text_in, text_out = min(text_in, before - audio_in), min(text_out, after - audio_out)
    audio_read = min(audio_read, audio_in, read)
    parts = read, write, reasoning, hour, audio_in, audio_out, text_in, text_out, audio_read
    return tuple.__new__(Usage, (before, after, *parts))


_READ: Final = (
    "cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens", "cache_read_input_tokens",
)  # fmt: skip
"""What is read from a cache, beside the details: Moonshot, DeepSeek, Mistral, LiteLLM."""
_WRITTEN: Final = ("cache_write_tokens", "cache_creation_input_tokens")
_ANTHROPIC: Final = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
)  # fmt: skip
"""Of these it tells at least one; OpenAI none."""
