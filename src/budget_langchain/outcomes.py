"""What LangChain's answers, and its end and error events, say about money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from budget_core import Receipt, Usage, frameworks
from budget_core.calls.responses import met_cap, read_receipt
from budget_core.calls.usages import read_usage
from budget_core.hooks import UsageRequest, hookimpl
from budget_core.money.usage import Fees, tier_of

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult, LLMResult

    from budget_core import Call
    from budget_langchain.runs import Run


@hookimpl
def budget_usage(request: UsageRequest) -> Receipt | None:
    response = request.response
    return read_result(response) if hasattr(response, "generations") else None


def read_result(result: LLMResult | ChatResult) -> Receipt:
    """Return what a result says; of several answers to a prompt, each repeats its usage."""
    generations: list[Any] = result.generations
    several = bool(generations) and isinstance(generations[0], list)
    firsts = [each[0] for each in generations if each] if several else generations[:1]
    receipts = [read_receipt(first) for first in firsts]
    output = result.llm_output or {}
    costs = [receipt.cost for receipt in receipts]
    head = receipts[0] if receipts else Receipt(None)
    return Receipt(
        _summed([receipt.usage for receipt in receipts]) or read_usage(output.get("token_usage")),
        head.model or _text(output.get("model_name") or output.get("model")),
        head.tier or tier_of(output.get("service_tier")),
        others=sum((receipt.others for receipt in receipts), ()),
        fees=_counted([receipt.fees for receipt in receipts]),
        region=head.region,
        cost=sum(filter(None, costs)) if any(cost is not None for cost in costs) else None,
    )


def _counted(fees: Sequence[Fees]) -> Fees:
    """Add up what each prompt's answer is billed for beside its tokens."""
    total: Counter[str] = Counter()
    for each in fees:
        total.update(dict(each))
    return tuple(sorted(total.items()))


def was_cached(response: LLMResult) -> bool:
    """Return whether an answer came from LangChain's cache: nothing was asked of a provider."""
    if response.llm_output or not response.generations or not response.generations[0]:
        return False
    message = getattr(response.generations[0][0], "message", None)
    usage = getattr(message, "usage_metadata", None) or {}
    return "total_cost" in usage and usage["total_cost"] == 0


def says_usage(response: LLMResult) -> bool:
    return read_result(response).usage is not None


def finish(call: Call, response: LLMResult) -> None:
    """Charge a complete answer: as its usage says, else by what can be seen of it."""
    shown = (_shown(answer) for answers in response.generations for answer in answers)
    receipt = read_result(response)
    if call.limited:
        receipt = receipt._replace(cut=_met_cap(response.generations))
    frameworks.finish(call, receipt, shown)


def check(run: Run, response: LLMResult) -> None:
    """Raise in place of an answer that the money has cut (see `frameworks.whole`).

    Where neither an agent nor a graph goes on with it, a part of a text is given as it is.
    """
    message = _message(response)
    text = message is not None and not run.formed and _is_text(message)
    if run.agents or not text:
        frameworks.whole(run.call, message, text=text)


def _message(response: LLMResult) -> Any:
    return next((one for each in response.generations for one in map(_said, each)), None)


def _said(generation: Any) -> Any:
    return getattr(generation, "message", None) or getattr(generation, "text", None)


def _is_text(message: Any) -> bool:
    calls = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")
    said = message if isinstance(message, str) else message.text
    return bool(said) and not any(getattr(message, name, None) for name in calls)


def _shown(answer: Any) -> str:
    message = getattr(answer, "message", None)
    if message is None:
        return str(getattr(answer, "text", ""))
    calls = getattr(message, "tool_calls", None) or ()
    return streamed_text("", answer) + "".join(f"{c['name']}{c['args']}" for c in calls)


def interrupted(error: BaseException) -> bool:
    """Return whether a tool stopped to ask a human, and will start again."""
    return any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__)


def streamed_text(token: Any, chunk: Any) -> str:
    message = getattr(chunk, "message", None)
    content = token if message is None else message.content
    if not isinstance(content, str):
        return _strings(content)
    calls = getattr(message, "tool_call_chunks", None) or ()
    written = "".join((call.get("name") or "") + (call.get("args") or "") for call in calls)
    reasoning = getattr(message, "additional_kwargs", {}).get("reasoning_content") or ""
    return content + written + (reasoning if isinstance(reasoning, str) else "")


def _strings(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "".join(_strings(v) for k, v in value.items() if k not in ("type", "id", "index"))
    return "".join(_strings(item) for item in value) if isinstance(value, list | tuple) else ""


def _met_cap(generations: Sequence[Sequence[Any]]) -> bool | None:
    """Return whether one of the answers met a cap on its length; None if none says."""
    told = [
        said
        for each in generations
        for one in each
        for where in (getattr(one, "message", None), getattr(one, "generation_info", None))
        if where is not None and (said := met_cap(where)) is not None
    ]
    return any(told) if told else None


def _summed(usages: list[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return Usage(*map(sum, zip(*known, strict=True))) if len(known) == len(usages) > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
