"""The command tree. Each command's work is in a module of its own."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from budget_cli import ledger_commands, watch_commands
from budget_cli.arguments import LimitLast
from budget_cli.ledger_commands import EXIT_CODES, Json
from budget_core.hooks import CommandsRequest
from budget_core.runtime.plugins import asking, manager

app = typer.Typer(
    name="budget",
    help="Hard spending limits for LLM agents.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Tier: TypeAlias = Literal["batch", "flex", "priority", "fast"]
Run: TypeAlias = Literal["unbudgeted", "raise", "finalize"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"budget-suite {version('budget-suite')}")
        raise typer.Exit


@app.callback()
def budget(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hard spending limits for LLM agents."""


@app.command(
    epilog="Exit codes: 0 every promise held, 1 one did not (the last lines say which), "
    "2 the arguments cannot be read."
)
def demo(
    *,
    budget: Annotated[str, typer.Option(help="What an agent may spend, in dollars.")] = "0.05",
    model: Annotated[str, typer.Option(help="The model that the agent asks for.")] = "gpt-4o",
    run: Annotated[
        Run | None, typer.Option(help="Only this run; by default all three, in this order.")
    ] = None,
    real: Annotated[
        bool,
        typer.Option(
            "--real",
            help="Use OpenAI and OPENAI_API_KEY, and spend real money: at most the budget a run. "
            "The run without a budget is left out unless asked for with --run unbudgeted.",
        ),
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Do not pause between calls.")] = False,
    json: Json = False,
) -> None:
    """Let a research agent run: without a budget, into its budget, and to a last word within it.

    A LangGraph agent searches and reads documents that ship with this package. By default it
    talks HTTP to a provider embedded in this process, whose scripted model never stops by itself
    and which bills every token: no key, no network, no money.
    """
    from budget_cli.demo.command import demonstrate  # noqa: PLC0415  loads the frameworks

    raise typer.Exit(demonstrate(budget, model, run, real=real, fast=fast, as_json=json))


@app.command(epilog=EXIT_CODES)
def report(
    file: Annotated[Path, typer.Argument(help="A report as JSON; - reads it from stdin.")],
    *,
    json: Json = False,
) -> None:
    """Show a saved session.report(): the budget, where the money went, and what happened."""
    from budget_cli.reports import show_report  # noqa: PLC0415

    show_report(file, as_json=json)


@app.command(
    epilog="Exit codes: 0 found, 1 no model has that name or contains it, "
    "2 the arguments cannot be read."
)
def models(
    name: Annotated[
        str | None,
        typer.Argument(help="A model, resolved as a guard would; else a part of a name."),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List what models cost, in dollars per million tokens, and the most that they can write."""
    from budget_cli.models import show_models  # noqa: PLC0415

    show_models(name, as_json=json)


@app.command(epilog=EXIT_CODES)
def estimate(
    *,
    model: Annotated[str, typer.Option(help="The model, as the agent names it.")],
    tokens_in: Annotated[int, typer.Option("--in", min=0, help="Input tokens of a call.")],
    tokens_out: Annotated[int, typer.Option("--out", min=0, help="Output tokens of an answer.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Answers asked for in one call.")] = 1,
    calls: Annotated[int, typer.Option(min=1, help="How many such calls.")] = 1,
    budget: Annotated[str | None, typer.Option(help='The budget they share, as in "$5".')] = None,
    tier: Annotated[Tier | None, typer.Option(help="A service tier with its own prices.")] = None,
    json: Json = False,
) -> None:
    """Tell what a call costs, what a guard holds for it, and how many of them a budget allows."""
    from budget_cli.estimates import show_estimate  # noqa: PLC0415

    show_estimate(
        model, tokens_in, tokens_out, n=n, calls=calls, budget=budget, tier=tier, as_json=json
    )


@app.command(
    cls=LimitLast,
    context_settings={"allow_interspersed_args": False},
    epilog="Exit codes: 3 the budget was exhausted, 130 interrupted, "
    "2 the arguments cannot be read; else the script's own: 0 all went well, 1 it raised.",
)
def run(
    script: Annotated[str, typer.Argument(help="A script; with -m, the name of a module.")],
    args: Annotated[list[str] | None, typer.Argument(help="The script's own arguments.")] = None,
    *,
    limit: Annotated[str, typer.Option(help='What it may spend, in dollars, as in "$5" or 0.50.')],
    agents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AMOUNT",
            help="What an agent may spend of it, by the name that its framework knows. "
            "May be repeated.",
        ),
    ] = None,
    module: Annotated[
        bool, typer.Option("--module", "-m", help="Run a module, as python -m does.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, writable=True, help="Save the report as JSON, too."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Report in JSON: one line, the last on stderr.")
    ] = False,
) -> None:
    """Run a Python script under a budget, without a change: budget run --limit 5 agent.py.

    Every call of the OpenAI, Anthropic and Google SDKs in the process, in whatever thread or task,
    is held before it is sent; what the budget does not pay for raises BudgetExhausted in the
    script. Processes that it starts have no budget.

    What stands behind the script is the script's. Without --limit before it, what stands behind
    it from --limit on is ours: budget run agent.py --verbose --limit 5.

    The script's stdout is its own. The report goes to stderr when it has ended, also if it failed
    or was interrupted.
    """
    from budget_cli import run as running  # noqa: PLC0415  loads the guards

    raise typer.Exit(
        running.run(
            script,
            args or (),
            module=module,
            limit=limit,
            agents=agents or (),
            saved=report,
            as_json=json,
        )
    )


@app.command(epilog=EXIT_CODES)
def plugins(*, json: Json = False) -> None:
    """List the plugins: what each brings, and which were left out."""
    from budget_cli.plugins import show_plugins  # noqa: PLC0415

    show_plugins(as_json=json)


manager.register(watch_commands)
manager.register(ledger_commands)
asking.every("budget_commands", CommandsRequest(app))
