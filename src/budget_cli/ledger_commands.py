"""The commands that look into a ledger, or change an account of it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from budget_core.hooks import CommandsRequest, hookimpl

EXIT_CODES = (
    "Exit codes: 0 all went well, 1 it did not (stderr says why), 2 the arguments cannot be read."
)
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON only, on stdout.")]
Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The ledger, as in sqlite:///budgets.db or redis://localhost/0. By default "
        "what BUDGET_LEDGER names.",
    ),
]
Account: TypeAlias = Annotated[str, typer.Argument(help="An account's name.")]
OneAccount: TypeAlias = Annotated[str | None, typer.Argument(help="Only what passes through it.")]

account = typer.Typer(help="Declare the accounts that sessions share.", no_args_is_help=True)


@hookimpl
def budget_commands(request: CommandsRequest) -> None:
    app = request.app
    app.command(epilog=EXIT_CODES)(accounts)
    app.command(epilog=EXIT_CODES)(holds)
    app.command(epilog=EXIT_CODES)(entries)
    app.command(
        epilog="Exit codes: 0 everything agrees, 1 something does not (stdout says what) or the "
        "ledger cannot be read (stderr says why), 2 the arguments cannot be read."
    )(verify)
    app.command("top-up", epilog=EXIT_CODES)(top_up)
    app.command(epilog=EXIT_CODES)(cancel)
    app.add_typer(account, name="account")


def accounts(*, ledger: Url = None, json: Json = False) -> None:
    """List the accounts of a ledger: what each may spend, has spent, and holds."""
    from budget_cli.ledgers import show_accounts  # noqa: PLC0415

    show_accounts(ledger, as_json=json)


def holds(name: OneAccount = None, *, ledger: Url = None, json: Json = False) -> None:
    """List the money that is set aside for calls under way."""
    from budget_cli.ledgers import show_holds  # noqa: PLC0415

    show_holds(ledger, name, as_json=json)


def entries(
    name: OneAccount = None,
    *,
    last: Annotated[int, typer.Option(min=0, help="How many, 0 for all.")] = 50,
    ledger: Url = None,
    json: Json = False,
) -> None:
    """List what was recorded, oldest first."""
    from budget_cli.ledgers import show_entries  # noqa: PLC0415

    show_entries(ledger, name, last, as_json=json)


def verify(*, ledger: Url = None, json: Json = False) -> None:
    """Replay all records and compare them with the balances."""
    from budget_cli.ledgers import verify_ledger  # noqa: PLC0415

    raise typer.Exit(verify_ledger(ledger, as_json=json))


def top_up(
    name: Account,
    amount: Annotated[str, typer.Argument(help='How much more, in dollars, as in "$5".')],
    *,
    ledger: Url = None,
    json: Json = False,
) -> None:
    """Raise what an account may spend in its life."""
    from budget_cli.ledgers import top_up_account  # noqa: PLC0415

    top_up_account(ledger, name, amount, as_json=json)


def cancel(name: Account, *, ledger: Url = None, json: Json = False) -> None:
    """Pull an account's kill switch: later calls in it and all below it are refused."""
    from budget_cli.ledgers import cancel_account  # noqa: PLC0415

    cancel_account(ledger, name, as_json=json)


@account.command("set", epilog=EXIT_CODES)
def account_set(
    name: Account,
    limits: Annotated[
        list[str],
        typer.Argument(
            help='As in "$500/month", "$20/day in Europe/Berlin", "100 calls/hour", "$9000".'
        ),
    ],
    *,
    parent: Annotated[
        str | None, typer.Option(help="The account whose money it is, when it is new.")
    ] = None,
    ledger: Url = None,
    json: Json = False,
) -> None:
    """Declare an account that sessions share, or give it other limits."""
    from budget_cli.ledgers import set_account  # noqa: PLC0415

    set_account(ledger, name, limits, parent=parent, as_json=json)
