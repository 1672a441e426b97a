"""What a call used, as its response says: one shape for every provider's and framework's own.

**Missing is not zero.** A response that does not say what it used has usage None (unknown, and
never free); so has one whose numbers are negative, fractional, or all zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import add
from typing import Any, Final, cast

from budget_core.calls.fees import (
    SEARCHING,
    TOLD_BESIDE,
    grounding,
    most,
    read_fees,
    told_cost,
)
from budget_core.calls.fields import Get, getter, text
from budget_core.calls.usages import read_usage
from budget_core.money.usage import NO_RECEIPT, TIERS, Receipt, Usage, tier_of
from budget_core.runtime.plugins import asking
from budget_core.runtime.signals import pass_on


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
    elif not _is_geminis(event):  # whose last counts are the answer's, also where they are lower
        usage = Usage(*map(max, known.usage, usage))
    model, tier = found.model or known.model, found.tier or known.tier
    others, fees = found.others or known.others, most(known.fees, found.fees)
    region = found.region or known.region
    cost = known.cost if found.cost is None else found.cost
    return tuple.__new__(Receipt, (usage, model, tier, known.cut, others, fees, region, cost))


def met_cap(response: Any) -> bool | None:
    """Return whether an answer ends where a cap on its length was met; None if it does not say.

    Reads responses, the events of streams, and LangChain's messages. Never raises.
    """
    try:
        reasons = {str(getattr(one, "value", one)).lower() for one in _endings(getter(response))}
    except Exception as error:  # noqa: BLE001  as in `read_receipt`
        pass_on(error)
        return None
    return not _CAPPED.isdisjoint(reasons) if reasons else None


def _endings(get: Get) -> Iterator[Any]:
    """Return the words for why an answer ended, one for each choice."""
    for choice in get("choices") or get("candidates") or ():
        of = getter(choice)
        if (reason := of("finish_reason") or of("finishReason")) is not None:
            yield reason
    if (details := get("incomplete_details")) is not None:
        yield getter(details)("reason")
    elif get("status") == "completed":
        yield "completed"
    for key in ("stop_reason", "finish_reason"):
        if (reason := get(key)) is not None:
            yield reason
    for key in ("delta", "response", "response_metadata"):
        if (inner := get(key)) is not None and not isinstance(inner, str):
            yield from _endings(getter(inner))


def _is_geminis(event: Any) -> bool:
    get = getter(event)
    told = getter(get("usageMetadata") or get("usage_metadata"))
    return (told("totalTokenCount") or told("total_token_count")) is not None


def _is_receipt(answer: Any) -> bool:
    if not isinstance(answer, Receipt):
        return False
    usage, model, tier, _, others, fees, region, cost = answer
    told = usage is None or (isinstance(usage, Usage) and usage.known)
    named = all(text is None or isinstance(text, str) for text in (model, tier, region))
    counted = all(isinstance(unit, str) and type(count) is int for unit, count in fees)
    return told and not others and named and counted and (cost is None or type(cost) is int)


def _output_alone(event: Any) -> Usage | None:
    """Read the last words of a stream that told its input at the start (Anthropic's)."""
    try:
        if (usage := getter(event)("usage")) is None:
            return None
        output = getter(usage)("output_tokens")
    except Exception as error:  # noqa: BLE001  as in `read_receipt`
        pass_on(error)
        return None
    return Usage(output=output) if type(output) is int and output > 0 else None


def _read(response: Any) -> Receipt:
    get = getter(response)
    usage = get("usage")
    if usage is not None:
        said, model, part = get("service_tier"), get("model"), getter(usage)
        tier = tier_of(said) if said is not None else _tier_within(part)
        named = model if isinstance(model, str) and model else None
        fees, region, cost = NO_RECEIPT[5:]
        more = [*map(part, TOLD_BESIDE)].count(None) < len(TOLD_BESIDE)
        if more or get("output") or SEARCHING.search(named or ""):
            fees, region, cost = read_fees(get, part), text(part("inference_geo")), told_cost(part)
        if isinstance(steps := part("iterations"), list):
            receipt = _iterated(read_usage(usage), named, tier, steps)
            return receipt._replace(fees=fees, region=region, cost=cost)
        tokens = read_usage(usage) or _embedded(get, part)
        told = (tokens, named, tier, None, (), fees, region, cost)
        return tuple.__new__(Receipt, told)
    if (metadata := get("usage_metadata") or get("usageMetadata")) is not None:
        return _from_metadata(get, metadata)
    if get("response_metadata") is not None:
        return _from_metadata(get, None)
    return _wrapped(get)


def _embedded(get: Get, usage: Get) -> Usage | None:
    """Read what embeddings tell that have a total alone: they have no output (Voyage)."""
    total = usage("total_tokens") if get("object") == "list" else None
    return read_usage({"prompt_tokens": total, "total_tokens": total})


def _foreign(response: Any) -> Receipt | None:
    if not asking.listening("budget_usage"):
        return None
    answer = asking.first("budget_usage", UsageRequest(response), sound=_is_receipt)
    return cast("Receipt | None", answer)


def _wrapped(get: Get) -> Receipt:
    """Read what a stream event (`response`, `message`) or a LangChain generation carries."""
    for key in ("response", "message", "x_groq"):
        inner = get(key)
        if inner is not None:
            inside = getter(inner)
            known = ("usage", "usage_metadata", "response_metadata")
            return _read(inner) if any(inside(k) is not None for k in known) else NO_RECEIPT
    said, model = get("service_tier"), text(get("model"))
    for choice in get("choices") or ():  # Moonshot's streams
        if (usage := getter(choice)("usage")) is not None:
            return Receipt(read_usage(usage), model, tier_of(said))
    fees = () if get("candidates") is None else read_fees(get, getter(None))
    return Receipt(None, model, tier_of(said), fees=fees) if model or said or fees else NO_RECEIPT


def _iterated(
    whole: Usage | None, model: str | None, tier: str | None, steps: list[Any]
) -> Receipt:
    """Add up the passes of an answer: its `whole` leaves out compactions and other models.

    https://docs.anthropic.com/en/docs/build-with-claude/compaction: what is billed is the sum
    of ``usage.iterations``.
    """
    by_model: dict[str, Usage] = {}
    for step in steps:
        get, usage = getter(step), read_usage(step)
        if usage is not None:
            name = "" if get("type") in _OWN_STEPS else text(get("model")) or ""
            by_model[name] = Usage(*map(add, by_model.get(name, Usage()), usage))
    own = by_model.pop("", None)
    others = tuple(by_model.items())
    if own is None and others:
        (model, own), *rest = others
        others = tuple(rest)
    return Receipt(own or whole, model, tier, others=others)


def _from_metadata(get: Get, metadata: Any) -> Receipt:
    about = getter(get("response_metadata"))
    usage = read_usage(metadata)
    raw = about("token_usage") or about("usage")
    model = get("model_version") or get("modelVersion") or about("model_name") or about("model")
    spoken, within = getter(metadata), getter(raw)
    tier = tier_of(about("service_tier")) or _tier_within(spoken) or _tier_within(within)
    fees = read_fees(get, within)
    if (metadata := about("grounding_metadata")) is not None:
        fees = most(fees, tuple(grounding(metadata, str(model))))
    region, cost = text(within("inference_geo")), told_cost(within)
    if isinstance(steps := within("iterations"), list):
        receipt = _iterated(read_usage(raw), text(model), tier, steps)
    else:
        receipt = Receipt(usage or read_usage(raw), text(model), tier)
    return receipt._replace(fees=fees, region=region, cost=cost)


def _tier_within(get: Get) -> str | None:
    """Read the tier that a usage implies: Anthropic's own fields, LangChain's prefixed keys."""
    if get("speed") == "fast":
        return "fast"
    details = get("input_token_details")
    if details is not None and isinstance(details, Mapping):
        return next((t for t in TIERS for k in details if k == t or k.startswith(t + "_")), None)
    return tier_of(get("service_tier") or get("traffic_type") or get("trafficType"))


_CAPPED: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
"""What providers call the end of an answer that met a cap on its length."""
_OWN_STEPS: Final = ("message", "compaction")
"""Passes of the model itself; the others are of the model that they name."""


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """Which response could not be read so far."""

    response: Any
