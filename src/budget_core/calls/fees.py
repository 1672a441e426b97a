"""What an answer tells that is billed beside its tokens: searches, and other tools at the provider.

A unit is one that prices know (`budget_core.money.prices.table.FEES`), or the provider's own word
for a tool, which has no price: a call that used it is recorded as unpriced.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from budget_core.calls.fields import Get, getter, items
from budget_core.money.usage import REQUEST, Fees
from budget_core.money.usd import NANOS_PER_USD

SEARCHING: Final = re.compile("search-preview|search-api|deep-research")
"""In the names of models that search the web by themselves."""
_BY_PROMPT: Final = re.compile(r"gemini-(1|2)\b")
"""Models whose grounding is billed by the prompt, that of later ones by each query:
https://ai.google.dev/gemini-api/docs/google-search#pricing."""

TOLD_BESIDE: Final = (
    "server_tool_use", "server_tool_use_details", "num_search_queries", "cost",
    "cost_in_usd_ticks", "prompt_audio_seconds", "seconds", "inference_geo",
)  # fmt: skip
"""What a usage tells beside tokens, if it does."""

_SERVER_TOOLS: Final = {
    "web_search_requests": "web_searches",
    "web_fetch_requests": None,  # its tokens alone
    "tool_search_requests": None,
}
"""Anthropic's counters in ``usage.server_tool_use``, which OpenRouter has as well:
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool#usage-and-pricing."""
_ITEMS: Final = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}
"""Items of a response of OpenAI's that have a fee: https://platform.openai.com/docs/pricing."""
_FREE_ITEMS: Final = frozenset({
    "function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call",
    "mcp_call", "tool_search_call",
})  # fmt: skip
_FREE_ACTIONS: Final = frozenset({"open_page", "find_in_page", "find"})
"""Of a web search's actions only searches are billed:
https://platform.openai.com/docs/guides/tools-web-search#output-and-citations."""
_PERPLEXITY: Final = {
    "num_search_queries": "search_queries",
    "citation_tokens": "citation_tokens",
    "reasoning_tokens": "thought_tokens",
}
"""https://docs.perplexity.ai/getting-started/pricing: Sonar Deep Research is billed for these."""


def read_fees(get: Get, usage: Get) -> Fees:
    """Return what an answer tells to be billed beside its tokens.

    Args:
        get: looks into the answer.
        usage: looks into its usage.
    """
    found: list[tuple[str, int]] = []
    for key in ("server_tool_use", "server_tool_use_details"):
        if (used := usage(key)) is not None:
            found += _server_tools(used)
    if (output := get("output")) is not None:
        found += _items(output)
    if (candidates := get("candidates")) is not None:
        found += _grounded(candidates, str(get("model_version") or get("modelVersion")))
    if usage("num_search_queries") is not None or usage("cost") is not None:
        found += _perplexity(usage)
    for key in ("prompt_audio_seconds", "seconds"):
        if (seconds := usage(key)) is not None:
            found.append(("audio_seconds", _count(seconds)))
    itself = get("choices") is not None and usage("num_search_queries") is None
    if itself and SEARCHING.search(str(get("model"))):
        found.append(("web_searches", 1))
    return _summed(found) if found else ()


def _summed(found: list[tuple[str, int]]) -> Fees:
    total: dict[str, int] = {}
    for unit, count in found:
        if count:
            total[unit] = total.get(unit, 0) + count
    return tuple(sorted(total.items()))


def most(one: Fees, other: Fees) -> Fees:
    """Return what two events of one stream tell together: their counts run on."""
    if not one or not other:
        return one or other
    counts = dict(one)
    for unit, count in other:
        counts[unit] = max(count, counts.get(unit, 0))
    return tuple(sorted(counts.items()))


def grounding(metadata: Any, model: str) -> Iterator[tuple[str, int]]:
    """Yield each fee of what Gemini has grounded an answer in."""
    get = getter(metadata)
    chunks = [getter(chunk) for chunk in items(get("grounding_chunks") or get("groundingChunks"))]
    queries = {
        query
        for key in ("web_search_queries", "webSearchQueries", "image_search_queries")
        for query in items(get(key))
        if query
    }
    if queries or any(chunk("web") for chunk in chunks):
        yield "web_searches", 1 if _BY_PROMPT.search(model) else max(1, len(queries))
    if any(chunk("maps") for chunk in chunks):
        yield "maps_searches", 1
    if get("retrieval_queries") or get("retrievalQueries"):
        yield "retrievals", 1


def _server_tools(used: Any) -> Iterator[tuple[str, int]]:
    told = used if isinstance(used, Mapping) else getattr(used, "__dict__", {})
    extra = getattr(used, "__pydantic_extra__", None) or {}
    for key, count in {**told, **extra}.items():
        if isinstance(key, str) and (unit := _SERVER_TOOLS.get(key, key)):
            yield unit, _count(count)


def _perplexity(usage: Get) -> Iterator[tuple[str, int]]:
    if usage("num_search_queries") is not None:
        for key, unit in _PERPLEXITY.items():
            yield unit, _count(usage(key))
    fee = getter(usage("cost"))("request_cost") if not _is_number(usage("cost")) else None
    if (nanos := told_nanos(fee)) is not None:
        yield REQUEST, nanos


def _items(output: Any) -> Iterator[tuple[str, int]]:
    for item in items(output):
        get = getter(item)
        kind = get("type")
        if not isinstance(kind, str) or not kind.endswith("_call") or kind in _FREE_ITEMS:
            continue
        action = getter(get("action"))
        if kind == "web_search_call" and action("type") in _FREE_ACTIONS:
            continue
        if kind == "shell_call" and getter(get("environment"))("type") in (None, "local"):
            continue
        yield _ITEMS.get(kind, kind), 1


def _grounded(candidates: Any, model: str) -> Iterator[tuple[str, int]]:
    for candidate in items(candidates):
        get = getter(candidate)
        metadata = get("grounding_metadata") or get("groundingMetadata")
        if metadata is not None:
            yield from grounding(metadata, model)


def told_cost(usage: Get) -> int | None:
    """Return the nanos that the provider itself says an answer came to; None if it does not.

    OpenRouter and Vercel: ``cost``, in dollars, beside which one's own key is billed by its maker;
    Perplexity: its total; xAI: ``cost_in_usd_ticks``, of which a dollar has 10^10.
    """
    if (ticks := usage("cost_in_usd_ticks")) is not None:
        return -(-ticks // 10) if type(ticks) is int and ticks >= 0 else None
    if (cost := usage("cost")) is None:
        return None
    nanos = told_nanos(cost if _is_number(cost) else getter(cost)("total_cost"))
    if nanos is None or not usage("is_byok"):
        return nanos
    upstream = told_nanos(getter(usage("cost_details"))("upstream_inference_cost"))
    return None if upstream is None else nanos + upstream


def told_nanos(dollars: Any) -> int | None:
    """Return an amount of dollars that an answer tells, rounded up; None for what is none."""
    try:
        exact = Decimal(str(dollars)) * NANOS_PER_USD
        return int(exact.to_integral_value(ROUND_CEILING)) if exact >= 0 else None
    except (ArithmeticError, ValueError):
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _count(value: Any) -> int:
    """Return a count, rounded up, and 0 for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return 0
    return math.ceil(value)
