"""What the demo looks like: a line a call, a bar that fills, and a comparison at the end."""

from __future__ import annotations

from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from budget_cli.bars import bar, dollars
from budget_cli.demo.agent import QUESTION
from budget_cli.demo.run import MOST_CALLS, RESERVE, Kind, Outcome, Setting, Step
from budget_cli.demo.verdict import Promise
from budget_cli.output import PLAIN_WIDTH, cell
from budget_core.runtime.printing import printable

TITLES: Final[dict[Kind, str]] = {
    "unbudgeted": "1 · No budget",
    "raise": '2 · Budget, on_exhausted="raise"',
    "finalize": '3 · Budget, on_exhausted="finalize"',
}
_FIXED: Final = 51
"""Columns of a line that are not the action."""


class Screen:
    """An `Audience` that draws."""

    def __init__(self, console: Console, setting: Setting) -> None:
        self.console = console
        self.setting = setting
        self._live: Live | None = None
        self._last: Step | None = None

    def opening(self) -> None:
        where = (
            "OpenAI, with your key and your money"
            if self.setting.real
            else "embedded in this process, HTTP on loopback; its model never stops by itself"
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        grid.add_row("question", f"[bold]{QUESTION}[/]")
        grid.add_row("model", cell(self.setting.model))
        grid.add_row("provider", where)
        grid.add_row("budget", _usd(self.setting.budget))
        title = "[bold]a research agent[/]"
        self.console.print(Panel(grid, title=title, title_align="left", border_style="dim"))

    def began(self, run: Kind) -> None:
        self._last = None
        about = {
            "unbudgeted": f"nothing holds the agent but this demo, after {MOST_CALLS} calls",
            "raise": "the call that does not fit is refused before it is sent",
            "finalize": f"{RESERVE:.0%} is kept back for one last answer",
        }[run]
        self.console.print()
        self.console.print(Rule(f"[bold]{TITLES[run]}[/]", align="left", style="dim"))
        self.console.print(f"     [dim]{about}[/]\n")
        self.console.print(self._line("", "call", "in", "out", "cap", "cost", "total", "dim"))
        if self.console.is_terminal:
            self._live = Live(self._bar(run), console=self.console, transient=True)
            self._live.start()

    def answered(self, run: Kind, step: Step) -> None:
        self._last = step
        over = step.total > self.setting.budget
        if self._live is not None:
            self._live.update(self._bar(run), refresh=True)
        style = "bold green" if step.final else "red" if over else ""
        self.console.print(
            self._line(
                str(step.number),
                step.action,
                f"{step.tokens_in:,}",
                f"{step.tokens_out:,}",
                f"{step.cap:,}" if step.cap else "—",
                _usd(step.cost),
                _usd(step.total),
                style,
            )
        )

    def refused(self, run: Kind, why: str) -> None:  # noqa: ARG002
        self.console.print(Text.assemble(("  ✗ refused ", "bold red"), cell(why, "red")))

    def ended(self, outcome: Outcome) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self.console.print(self._bar(outcome.run))
        if outcome.answer:
            cut = "  [yellow](cut at its cap)[/]" if outcome.cut else ""
            body = Text(outcome.answer)
            title = f"[bold green]the agent's answer[/]{cut}"
            self.console.print(Panel(body, title=title, title_align="left", border_style="green"))

    def comparison(self, outcomes: list[Outcome], promises: list[Promise]) -> None:
        self.console.print()
        self.console.print(Rule("[bold]Comparison[/]", align="left", style="dim"))
        self.console.print()
        self.console.print(self._table(outcomes))
        self.console.print(
            "[dim]bill: what the provider charged; report: session.report(); nano-$[/]"
        )
        self.console.print()
        for promise in promises:
            mark = "[bold green]✓[/]" if promise.held else "[bold red]✗[/]"
            self.console.print(f" {mark} {promise.text}")

    def _table(self, outcomes: list[Outcome]) -> RenderableType:
        gap = 2 if self.console.width >= PLAIN_WIDTH else 1
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
        table.add_column("run", no_wrap=True)
        for name in ("calls", "blocked", "bill", "report", "agree", "budget"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("outcome")
        for one in outcomes:
            over = one.bill is not None and one.bill > self.setting.budget
            limit = "—" if one.run == "unbudgeted" else _usd(self.setting.budget)
            table.add_row(
                one.run, str(len(one.steps)), str(len(one.refusals)),
                Text(_nanos(one.bill), "bold red" if over else "bold green"), _nanos(one.spent),
                {True: "[green]yes[/]", False: "[bold red]no[/]", None: "—"}[one.agree], limit,
                one.ended,
            )  # fmt: skip
        return table

    def _line(self, number: str, action: str, *rest: str) -> Text:
        room = max(12, self.console.width - _FIXED)
        action = printable(action)
        shown = action if len(action) <= room else f"{action[: room - 1]}…"
        *figures, style = rest
        tokens_in, tokens_out, cap, cost, total = figures
        columns = f"{tokens_in:>7}{tokens_out:>6}{cap:>8}{cost:>11}{total:>11}"
        return Text(f" {number:>2}  {shown:<{room}}{columns}", style, no_wrap=True)

    def _bar(self, run: Kind) -> RenderableType:
        step, budget = self._last, self.setting.budget
        total, kept = (step.total, step.kept) if step else (0, 0)
        width = max(20, min(56, self.console.width - 42))
        line = Text.assemble("     ", bar(total, budget, kept=kept, width=width), "  ")
        line.append(_usd(total), "bold")
        if run == "unbudgeted":
            times = f": {total / budget:.1f} times the budget" if total > budget else ""
            line.append(times, "red")
        else:
            line.append(f" of {_usd(budget)}", "dim")
        if kept:
            line.append(f", {_usd(kept)} kept", "cyan")
        return Group(line)


def _usd(nanos: int) -> str:
    return dollars(nanos / 1e9)


def _nanos(nanos: int | None) -> str:
    return "—" if nanos is None else f"{nanos:,}"
