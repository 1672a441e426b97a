"""The commands that show what is used of APIs, and collect what clients report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from budget_cli.ledger_commands import EXIT_CODES, Json, Url
from budget_core.hooks import CommandsRequest, hookimpl


@hookimpl
def budget_commands(request: CommandsRequest) -> None:
    request.app.command(epilog=EXIT_CODES)(quota)
    request.app.command(epilog=EXIT_CODES)(collect)


def quota(*, ledger: Url = None, json: Json = False) -> None:
    """Show what is used of watched APIs, and what they say is left.

    What is used is in the ledger, if one is named. What an API said last is kept for each machine,
    by whatever process of this user watched it.
    """
    from budget_cli.quotas import show_quotas  # noqa: PLC0415

    show_quotas(ledger, as_json=json)


def collect(
    *,
    ledger: Url = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port.")] = 8_320,
    key: Annotated[
        list[str] | None,
        typer.Option(
            envvar="BUDGET_COLLECT_KEY",
            help="An API key that clients are to send. May be repeated. Only on loopback there "
            "need be none.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Append each event, as JSON lines."),
    ] = None,
) -> None:
    """Collect what watched clients report, and tell them what their sessions have spent.

    Takes POST /v1/ingest and answers GET /v1/budget-check, for watch_client(collector=...) and for
    clients of AgentWatch and QuotaWatch. What was spent is charged to the ledger's accounts
    watched:SESSION and team:TEAM.
    """
    from budget_cli.collect import collect as serve  # noqa: PLC0415

    serve(ledger, host, port, key or [], log)
