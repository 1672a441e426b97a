"""``budget report``: a saved `session.report()`, for people."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from budget_cli.bars import bar, exact_dollars
from budget_cli.output import cell, console, fail, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Report: TypeAlias = dict[str, Any]

_BAR_WIDTH: Final = 44
_SHOWN_EVENTS: Final = 20
_TOKENS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")
_ELSEWHERE: Final = {"type", "timestamp", "session_id", "report", "kind"}
_MONEY: Final = {"cost", "spent", "remaining", "budget", "amount", "requested"}
_STYLES: Final = {
    "refused": "red",
    "stopped": "red",
    "truncated": "red",
    "hard_limit": "red",
    "overage": "bold red",
    "cancelled": "red",
    "loop_detected": "magenta",
    "warning": "yellow",
    "soft_limit": "yellow",
    "late": "yellow",
    "top_up": "cyan",
    "finalized": "green",
}


class ReportError(ValueError):
    """The text is no report; the message says why."""


def read_report(text: str) -> Report:
    """Read a report and fill in what older or shortened ones leave out.

    Raises:
        ReportError: it is no JSON object, or lacks what every report has.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ReportError(f"it is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise ReportError("it is JSON, but not an object")
    if missing := [key for key in ("session_id", "total_spent") if key not in data]:
        raise ReportError(f"it has no {' and no '.join(map(repr, missing))}")
    try:
        return _normalised(data)
    except (AttributeError, TypeError, ValueError) as error:
        raise ReportError(f"a part of it has another shape ({error})") from None


def show_report(file: Path, *, as_json: bool) -> None:
    """Print the report in `file`, or on stdin if that is ``-``."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        found = read_report(text)
    except OSError as error:
        raise fail(f"{file} cannot be read: {error.strerror or error}") from None
    except (ReportError, UnicodeDecodeError) as error:
        hint = "Save one with json.dump(session.report(), file)."
        raise fail(f"{file} is not a budget report: {error}. {hint}") from None
    if as_json:
        print_json(found)
    else:
        console().print(rendered(found))


def rendered(report: Report) -> RenderableType:
    parts: list[RenderableType] = [_money(report), Text(), _breakdown(report)]
    if report["children"]:
        parts += [Text(), _children(report["children"], report.get("other_children", {}))]
    if report["events"]:
        parts += [Text(), _events(report["events"])]
    title = Text.assemble(cell(report["session_id"], "bold"), cell(f" · {_ending(report)}"))
    return Panel(Group(*parts), title=title, title_align="left", padding=(1, 2), border_style="dim")


def _normalised(data: Report) -> Report:
    breakdown = dict(data.get("breakdown") or {})
    llm, tools = dict(breakdown.get("llm") or {}), dict(breakdown.get("tools") or {})
    agents, tokens = dict(breakdown.get("agents") or {}), dict(breakdown.get("tokens") or {})
    spent, budget = float(data["total_spent"]), data.get("budget")
    budget = None if budget is None else float(budget)
    left = data.get("remaining")
    known: Report = {
        "session_id": str(data["session_id"]),
        "budget": budget,
        "total_spent": spent,
        "total_spent_nanos": int(data.get("total_spent_nanos", round(spent * 1e9))),
        "remaining": max(0.0, budget - spent) if left is None and budget is not None else left,
        "reserved": float(data.get("reserved") or 0),
        "overage": float(data.get("overage") or max(0.0, spent - (budget or spent))),
        "breakdown": {
            "llm": {
                "total": float(llm.get("total") or 0),
                "calls": int(llm.get("calls") or 0),
                "by_model": _amounts(llm.get("by_model")),
            },
            "tools": {
                "total": float(tools.get("total") or 0),
                "calls": int(tools.get("calls") or 0),
                "by_tool": _amounts(tools.get("by_tool")),
            },
            "agents": {"by_agent": _amounts(agents.get("by_agent"))},
            "tokens": {kind: int(tokens.get(kind) or 0) for kind in _TOKENS},
        },
        "unpriced_calls": int(data.get("unpriced_calls") or 0),
        "truncated_answers": int(data.get("truncated_answers") or 0),
        "limits": dict(data.get("limits") or {}),
        "children": [dict(child) for child in data.get("children") or ()],
        "duration_seconds": float(data.get("duration_seconds") or 0),
        "terminated_by": data.get("terminated_by"),
        "finalized": bool(data.get("finalized")),
        "events": [dict(event) for event in data.get("events") or ()],
    }
    if "windows" in data:
        known["windows"] = [dict(window) for window in data["windows"]]
    if "other_children" in data:
        known["other_children"] = dict(data["other_children"])
    return known


def _amounts(by_name: Mapping[str, Any] | None) -> dict[str, float]:
    amounts = {str(name): float(amount) for name, amount in (by_name or {}).items()}
    return dict(sorted(amounts.items(), key=lambda item: -item[1]))


def _ending(report: Report) -> str:
    reason = report["terminated_by"]
    seconds = f"{report['duration_seconds']:.1f} s"
    return f"{str(reason).replace('_', ' ')} after {seconds}" if reason else f"ran {seconds}"


def _money(report: Report) -> RenderableType:
    spent, budget = report["total_spent"], report["budget"]
    line = Text.assemble(bar(spent, budget, width=_BAR_WIDTH), "  ", (exact_dollars(spent), "bold"))
    line.append(" spent" if budget is None else f" of {exact_dollars(budget)}")
    facts = [] if report["remaining"] is None else [f"{exact_dollars(report['remaining'])} left"]
    if report["reserved"]:
        facts.append(f"{exact_dollars(report['reserved'])} held")
    if report["unpriced_calls"]:
        facts.append(f"{report['unpriced_calls']} calls without a price")
    if report["truncated_answers"]:
        facts.append(f"{report['truncated_answers']} answers cut")
    for unit, both in report["limits"].items():
        facts.append(f"{both.get('spent'):,} of {both.get('limit'):,} {unit.replace('_', ' ')}")
    facts.extend(map(_used, report.get("windows", ())))
    below = cell(" · ".join(facts), "dim")
    if report["overage"]:
        below.append(f" · {exact_dollars(report['overage'])} over the budget", "bold red")
    return Group(line, below)


def _used(window: Report) -> str:
    spent = window.get("spent")
    shown = exact_dollars(spent) if window.get("unit") == "usd" else f"{spent:,}"
    return f"{shown} of {window.get('limit')}"


def _breakdown(report: Report) -> RenderableType:
    parts, total = report["breakdown"], report["total_spent"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for _ in range(2):
        table.add_column(justify="right", no_wrap=True)
    for label, by_name, calls in (
        ("models", parts["llm"]["by_model"], parts["llm"]["calls"]),
        ("tools", parts["tools"]["by_tool"], parts["tools"]["calls"]),
        ("agents", parts["agents"]["by_agent"], None),
    ):
        for at, (name, amount) in enumerate(by_name.items()):
            share = f"{amount / total:.0%}" if total else ""
            counted = f"{label} ({calls} call{'s' * (calls != 1)})" if calls else label
            table.add_row("" if at else counted, cell(name), exact_dollars(amount), share)
    tokens = [f"{n:,} {kind.replace('_', ' ')}" for kind, n in parts["tokens"].items() if n]
    if tokens:
        table.add_row("tokens", " · ".join(tokens), "", "")
    return table


def _children(children: list[Report], others: Report) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for at, child in enumerate(children):
        spent, limit = child.get("total_spent"), child.get("budget")
        of = f"{exact_dollars(spent)} of {exact_dollars(limit)}" if limit else exact_dollars(spent)
        label = Text("" if at else "children", "dim")
        table.add_row(
            label,
            cell(child.get("name") or child.get("session_id")),
            bar(spent or 0, limit, width=16),
            of,
        )
    if others:
        more = f"and {others.get('count')} others"
        table.add_row("", cell(more, "dim"), "", exact_dollars(others.get("total_spent")))
    return table


def _events(events: list[Report]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    shown = events[-_SHOWN_EVENTS:]
    if len(shown) < len(events):
        table.add_row("", Text(f"… {len(events) - len(shown)} earlier events", "dim"), "")
    for event in shown:
        kind = str(event.get("type", "event"))
        label = cell(kind.replace("_", " "), _STYLES.get(kind, ""))
        table.add_row(Text(_clock(event.get("timestamp")), "dim"), label, cell(_details(event)))
    return table


def _clock(timestamp: Any) -> str:
    if not isinstance(timestamp, int | float):
        return ""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%H:%M:%S")


def _details(event: Report) -> str:
    facts = {k: v for k, v in event.items() if k not in _ELSEWHERE and v is not None}
    money = _MONEY if facts.get("unit", "usd") == "usd" else _MONEY - {"requested", "remaining"}
    subject = [str(facts.pop("name"))] if "name" in facts else []
    told = [
        f"{name} {exact_dollars(value) if name in money and _is_number(value) else value}"
        for name, value in facts.items()
    ]
    return "  ".join([*subject, *told])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
