"""What a call used, as its response says: one shape for every provider's and framework's own.

**Missing is not zero.** A response that does not say what it used has usage None (unknown, and
never free); so has one whose numbers are negative, fractional, or all zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import add
from typing import Any, Final, TypeAlias, cast

from budget_core.money.usage import NO_RECEIPT, TIERS, Receipt, Usage, tier_of
from budget_core.runtime.plugins import asking
from budget_core.runtime.signals import pass_on

Get: TypeAlias = Callable[[str], Any]


def read_receipt(response: Any, *, foreign: bool = True) -> Receipt:
    """Read usage, model and tier off a response, a stream event, or a framework's result.

    Understands SDK objects and plain dicts of OpenAI (chat, responses, embeddings, chunks),
    Anthropic and Gemini, LangChain messages and generations, and what plugins understand (hook
    ``budget_usage``). Never raises: of an object that is not understood it returns
    ``Receipt(None)``.

    Args:
        response: what was answered.
        foreign: plugins are asked as well.
    """
    try:
        receipt = _read(response)
    except Exception as error:  # noqa: BLE001  whatever a foreign object's attributes may raise
        pass_on(error)
        receipt = NO_RECEIPT
    if receipt.usage is None and foreign and response is not None:
        return _foreign(response) or receipt
    return receipt


def read_on(known: Receipt, event: Any, *, foreign: bool = False) -> Receipt:
    """Add what an event of a stream tells to what is known of the stream so far.

    Args:
        known: so far.
        event: the next one.
        foreign: plugins are asked as well.
    """
    found = read_receipt(event, foreign=foreign)
    if found is NO_RECEIPT:
        return known
    usage = found.usage or _output_alone(event)
    if usage is None or known.usage is None:
        usage = usage or known.usage
    else:
        usage = Usage(*map(max, known.usage, usage))
    model, tier = found.model or known.model, found.tier or known.tier
    others = found.others or known.others
    return tuple.__new__(Receipt, (usage, model, tier, known.cut, others))


def met_cap(response: Any) -> bool | None:
    """Return whether an answer ends where a cap on its length was met; None if it does not say.

    Reads responses, the events of streams, and LangChain's messages. Never raises.
    """
    try:
        reasons = {str(getattr(one, "value", one)).lower() for one in _endings(_getter(response))}
    except Exception as error:  # noqa: BLE001  as in `read_receipt`
        pass_on(error)
        return None
    return not _CAPPED.isdisjoint(reasons) if reasons else None


def read_usage(usage: Any) -> Usage | None:
    """Read the usage part of a response; None if it does not say. Never raises."""
    try:
        if isinstance(usage, Usage):
            return _whole(*_counts(*usage))
        get = _getter(usage)
        if type(get("prompt_tokens")) is int:
            return _openai_chat(get)
        if type(get("input_tokens")) is int:
            return _input_and_output(get)
        if type(get("prompt_token_count")) is int:
            return _gemini(get)
        camel = type(get("promptTokenCount")) is int
        return _gemini(lambda key: get(camel_case(key))) if camel else None
    except Exception as error:  # noqa: BLE001  as in `read_receipt`
        pass_on(error)
        return None


def _endings(get: Get) -> Iterator[Any]:
    """Return the words for why an answer ended, one for each choice."""
    for choice in get("choices") or get("candidates") or ():
        of = _getter(choice)
        if (reason := of("finish_reason") or of("finishReason")) is not None:
            yield reason
    if (details := get("incomplete_details")) is not None:
        yield _getter(details)("reason")
    elif get("status") == "completed":
        yield "completed"
    for key in ("stop_reason", "finish_reason"):
        if (reason := get(key)) is not None:
            yield reason
    for key in ("delta", "response", "response_metadata"):
        if (inner := get(key)) is not None and not isinstance(inner, str):
            yield from _endings(_getter(inner))


def _is_receipt(answer: Any) -> bool:
    if not isinstance(answer, Receipt):
        return False
    usage, *texts, _, others = answer
    told = usage is None or (isinstance(usage, Usage) and usage.known)
    return told and not others and all(text is None or isinstance(text, str) for text in texts)


def _output_alone(event: Any) -> Usage | None:
    """Read the last words of a stream that told its input at the start (Anthropic's)."""
    try:
        if (usage := _getter(event)("usage")) is None:
            return None
        output = _getter(usage)("output_tokens")
    except Exception as error:  # noqa: BLE001  as in `read_receipt`
        pass_on(error)
        return None
    return Usage(output=output) if type(output) is int and output > 0 else None


def _read(response: Any) -> Receipt:
    get = _getter(response)
    usage = get("usage")
    if usage is not None:
        said, model, part = get("service_tier"), get("model"), _getter(usage)
        tier = tier_of(said) if said is not None else _tier_within(part)
        named = model if isinstance(model, str) and model else None
        if isinstance(steps := part("iterations"), list):
            return _iterated(read_usage(usage), named, tier, steps)
        return tuple.__new__(Receipt, (read_usage(usage), named, tier, None, ()))
    if (metadata := get("usage_metadata") or get("usageMetadata")) is not None:
        return _from_metadata(get, metadata)
    if get("response_metadata") is not None:
        return _from_metadata(get, None)
    return _wrapped(get)


def _foreign(response: Any) -> Receipt | None:
    if not asking.listening("budget_usage"):
        return None
    answer = asking.first("budget_usage", UsageRequest(response), sound=_is_receipt)
    return cast("Receipt | None", answer)


def _wrapped(get: Get) -> Receipt:
    """Read what a stream event (`response`, `message`) or a LangChain generation carries."""
    for key in ("response", "message"):
        inner = get(key)
        if inner is not None:
            inside = _getter(inner)
            known = ("usage", "usage_metadata", "response_metadata")
            return _read(inner) if any(inside(k) is not None for k in known) else NO_RECEIPT
    said, model = get("service_tier"), _text(get("model"))
    return Receipt(None, model, tier_of(said)) if model or said else NO_RECEIPT


def _iterated(
    whole: Usage | None, model: str | None, tier: str | None, steps: list[Any]
) -> Receipt:
    """Add up the passes of an answer: its `whole` leaves out compactions and other models.

    https://docs.anthropic.com/en/docs/build-with-claude/compaction: what is billed is the sum
    of ``usage.iterations``.
    """
    by_model: dict[str, Usage] = {}
    for step in steps:
        get, usage = _getter(step), read_usage(step)
        if usage is not None:
            name = "" if get("type") in _OWN_STEPS else _text(get("model")) or ""
            by_model[name] = Usage(*map(add, by_model.get(name, Usage()), usage))
    own = by_model.pop("", None)
    others = tuple(by_model.items())
    if own is None and others:
        (model, own), *rest = others
        others = tuple(rest)
    return Receipt(own or whole, model, tier, others=others)


def _from_metadata(get: Get, metadata: Any) -> Receipt:
    about = _getter(get("response_metadata"))
    usage = read_usage(metadata)
    raw = about("token_usage") or about("usage")
    model = get("model_version") or get("modelVersion") or about("model_name") or about("model")
    spoken, within = _getter(metadata), _getter(raw)
    tier = tier_of(about("service_tier")) or _tier_within(spoken) or _tier_within(within)
    if isinstance(steps := within("iterations"), list):
        return _iterated(read_usage(raw), _text(model), tier, steps)
    return Receipt(usage or read_usage(raw), _text(model), tier)


def _tier_within(get: Get) -> str | None:
    """Read the tier that a usage implies: Anthropic's own fields, LangChain's prefixed keys."""
    if get("speed") == "fast":
        return "fast"
    details = get("input_token_details")
    if details is not None and isinstance(details, Mapping):
        return next((t for t in TIERS for k in details if k == t or k.startswith(t + "_")), None)
    return tier_of(get("service_tier") or get("traffic_type") or get("trafficType"))


def _openai_chat(get: Get) -> Usage | None:
    prompt, completion, total = get("prompt_tokens"), get("completion_tokens"), get("total_tokens")
    if completion is None and type(total) is int:  # embeddings
        completion = total - prompt
    before = _getter(get("prompt_tokens_details"))
    after = _getter(get("completion_tokens_details"))
    read, write, audio_in, reasoning, audio_out = _counts(
        before("cached_tokens"), before("cache_write_tokens"), before("audio_tokens"),
        after("reasoning_tokens"), after("audio_tokens"),
    )  # fmt: skip
    parts = read, write, reasoning, 0, audio_in, audio_out
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
    before, after = _getter(get("input_tokens_details")), _getter(get("output_tokens_details"))
    read, write, reasoning, thinking, audio_in, audio_out = _counts(
        before("cached_tokens"), before("cache_write_tokens"),
        after("reasoning_tokens"), after("thinking_tokens"),
        before("audio_tokens"), after("audio_tokens"),
    )  # fmt: skip
    parts = read, write, reasoning or thinking, 0, audio_in, audio_out
    total = get("total_tokens")
    return _whole(get("input_tokens"), get("output_tokens"), *parts, total=total)


def _anthropic(get: Get) -> Usage | None:
    aged, details = _getter(get("cache_creation")), _getter(get("output_tokens_details"))
    read, write, hour, minutes, thinking = _counts(
        get("cache_read_input_tokens"), get("cache_creation_input_tokens"),
        aged("ephemeral_1h_input_tokens"), aged("ephemeral_5m_input_tokens"),
        details("thinking_tokens"),
    )  # fmt: skip
    write = max(write, hour + minutes)
    whole = get("input_tokens") + read + write
    return _whole(whole, get("output_tokens"), read, write, thinking, hour)


def _gemini(get: Get) -> Usage | None:
    """Read Gemini's counts, which leave out zeros; thoughts and tool prompts are beside them."""
    of_tools, answer, thoughts, cached = _counts(
        get("tool_use_prompt_token_count"), get("candidates_token_count"),
        get("thoughts_token_count"), get("cached_content_token_count"),
    )  # fmt: skip
    said = get("prompt_token_count") + of_tools
    audio_in = _audio(get("prompt_tokens_details")) + _audio(get("tool_use_prompt_tokens_details"))
    audio_out = _audio(get("candidates_tokens_details"))
    parts = cached, 0, thoughts, 0, audio_in, audio_out
    return _whole(said, answer + thoughts, *parts, total=get("total_token_count"))


def _langchain(get: Get) -> Usage | None:
    before, after = _getter(get("input_token_details")), _getter(get("output_token_details"))

    def tiered(part: Get, key: str) -> int:
        return sum(_counts(part(key), *(part(f"{tier}_{key}") for tier in TIERS)))

    hour, minutes, audio_in, audio_out = _counts(
        before("ephemeral_1h_input_tokens"), before("ephemeral_5m_input_tokens"),
        before("audio"), after("audio"),
    )  # fmt: skip
    return _whole(
        get("input_tokens"),
        get("output_tokens"),
        tiered(before, "cache_read"),
        tiered(before, "cache_creation") + hour + minutes,
        tiered(after, "reasoning"),
        hour,
        audio_in,
        audio_out,
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
    parts = read, write, reasoning, hour, audio_in, audio_out
    return tuple.__new__(Usage, (before, after, *parts))


def _counts(*values: Any) -> list[int]:
    """Return what is said of tokens, 0 where nothing is."""
    counts = []
    for value in values:
        sound = type(value) is int and value >= 0
        if not sound and isinstance(value, int | float):
            raise ValueError(value)  # said, but nonsense: the whole is not known
        counts.append(value if sound else 0)
    return counts


def _audio(details: Any) -> int:
    tokens = 0
    for entry in details if isinstance(details, list | tuple) else ():
        get = _getter(entry)
        modality = get("modality")
        if str(getattr(modality, "value", modality)).upper() == "AUDIO":
            snake, camel = _counts(get("token_count"), get("tokenCount"))
            tokens += snake or camel
    return tokens


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def camel_case(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(map(str.capitalize, rest))


def _getter(thing: Any) -> Get:
    """Return how to look into `thing`: a missing key is None, in a mapping and in an object."""
    if isinstance(thing, dict):
        return thing.get
    if thing is None:
        return _NOTHING.get
    extra: Any = getattr(thing, "__pydantic_extra__", _FOREIGN)
    if extra is not _FOREIGN:
        # a model's own dict: ten times quicker than the AttributeError of an absent field
        own: dict[str, Any] = thing.__dict__
        return {**extra, **own}.get if extra else own.get
    if isinstance(thing, Mapping):
        return thing.get
    return lambda key: getattr(thing, key, None)


_FOREIGN: Final = object()
_NOTHING: Final[dict[str, Any]] = {}
_ANTHROPIC: Final = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
)  # fmt: skip
"""Of these it tells at least one; OpenAI none."""
_CAPPED: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
"""What providers call the end of an answer that met a cap on its length."""
_OWN_STEPS: Final = ("message", "compaction")
"""Passes of the model itself; the others are of the model that they name."""


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """Which response could not be read so far."""

    response: Any
