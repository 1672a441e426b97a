"""Whether the promises held: what the demo's exit code and its last lines say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from budget_cli.demo.agent import QUESTION
from budget_cli.demo.run import Kind, Outcome, Setting


class Promise(NamedTuple):
    """A promise, and whether this demo saw it held."""

    text: str
    held: bool


def promises(outcomes: Sequence[Outcome], budget: int) -> list[Promise]:
    """Check what can be checked of the runs that were made; `budget` in nanos."""
    checks: dict[Kind, Callable[[Outcome, int], list[Promise]]] = {
        "unbudgeted": _unbudgeted,
        "raise": _raised,
        "finalize": _finalized,
    }
    found = [promise for one in outcomes for promise in checks[one.run](one, budget)]
    agreed = [one.agree for one in outcomes if one.agree is not None]
    if agreed:
        found.append(Promise("each report names the provider's bill, to the nano", all(agreed)))
    return found


def document(
    setting: Setting, outcomes: Sequence[Outcome], held: Sequence[Promise]
) -> dict[str, Any]:
    """Return everything as one JSON-ready document; money in dollars, and exact in ``*_nanos``."""
    return {
        "question": QUESTION,
        "model": setting.model,
        "provider": "openai" if setting.real else "embedded",
        "budget": setting.budget / 1e9,
        "budget_nanos": setting.budget,
        "runs": [_run(one, setting.budget) for one in outcomes],
        "promises": [promise._asdict() for promise in held],
        "ok": all(promise.held for promise in held),
    }


def _unbudgeted(one: Outcome, budget: int) -> list[Promise]:
    over = _charged(one) > budget
    hint = "" if over else f" (not in {len(one.steps)} calls: try a smaller --budget)"
    return [Promise(f"without a budget, the agent spends more than the budget{hint}", over)]


def _raised(one: Outcome, budget: int) -> list[Promise]:
    return [Promise("raise: the bill stays within the budget", _charged(one) <= budget)]


def _finalized(one: Outcome, budget: int) -> list[Promise]:
    return [
        Promise("finalize: the bill stays within the budget", _charged(one) <= budget),
        Promise("finalize: the agent ends with an answer", bool(one.answer)),
    ]


def _charged(one: Outcome) -> int:
    return max(one.bill or 0, one.spent or 0)


def _run(one: Outcome, budget: int) -> dict[str, Any]:
    limited = one.run != "unbudgeted"
    return {
        "run": one.run,
        "calls": len(one.steps),
        "blocked": len(one.refusals),
        "bill": None if one.bill is None else one.bill / 1e9,
        "bill_nanos": one.bill,
        "total_spent": None if one.spent is None else one.spent / 1e9,
        "total_spent_nanos": one.spent,
        "agree": one.agree,
        "budget_nanos": budget if limited else None,
        "outcome": one.ended,
        "answer": one.answer,
        "answer_cut": one.cut,
        "seconds": round(one.seconds, 3),
        "steps": [
            {
                "action": step.action,
                "input_tokens": step.tokens_in,
                "output_tokens": step.tokens_out,
                "output_cap": step.cap,
                "cost_nanos": step.cost,
                "total_nanos": step.total,
            }
            for step in one.steps
        ],
        "refusals": one.refusals,
    }
