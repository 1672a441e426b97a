"""What a LangChain result used: all of its prompts together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core import Receipt, Usage
from budget_core.calls.responses import read_receipt, read_usage
from budget_core.hooks import UsageRequest, hookimpl
from budget_core.money.usage import tier_of

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult, LLMResult


@hookimpl
def budget_usage(request: UsageRequest) -> Receipt | None:
    """Read a result of LangChain, wherever the core is handed one."""
    response = request.response
    return read_result(response) if hasattr(response, "generations") else None


def read_result(result: LLMResult | ChatResult) -> Receipt:
    """Return what a result says; of several answers to a prompt, each repeats its usage."""
    generations: list[Any] = result.generations
    several = bool(generations) and isinstance(generations[0], list)
    firsts = [each[0] for each in generations if each] if several else generations[:1]
    receipts = [read_receipt(first) for first in firsts]
    output = result.llm_output or {}
    head = receipts[0] if receipts else Receipt(None)
    return Receipt(
        _summed([receipt.usage for receipt in receipts]) or read_usage(output.get("token_usage")),
        head.model or _text(output.get("model_name") or output.get("model")),
        head.tier or tier_of(output.get("service_tier")),
    )


def _summed(usages: list[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return Usage(*map(sum, zip(*known, strict=True))) if len(known) == len(usages) > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
