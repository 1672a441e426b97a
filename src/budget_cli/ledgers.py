"""``budget accounts | holds | entries | verify | top-up | cancel`` and ``budget account set``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from os import environ
from pathlib import Path
from typing import Any

from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from budget_cli.output import cell, console, errors_for_people, fail, print_json
from budget_core.ledger import Balance, Entry, Ledger, LiveHoldView, ledger_from
from budget_core.ledger.audit import Progress
from budget_core.ledger.resolve import ENVIRONMENT
from budget_core.money.amounts import UNITS, Amounts, format_amount
from budget_core.money.usd import parse_usd
from budget_core.session.budget import declare


def show_accounts(url: str | None, *, as_json: bool) -> None:
    with open_ledger(url) as ledger:
        balances = ledger.accounts()
    if as_json:
        print_json([_account(balance) for balance in balances])
        return
    table = Table("account", "limits", "spent", "held", "left", "state", box=None)
    for balance in balances:
        left = balance.remaining()
        table.add_row(
            cell(balance.account),
            cell(", ".join(map(str, balance.limits.every)) or "unlimited"),
            format_amount("usd", balance.spent.usd),
            format_amount("usd", balance.reserved.usd),
            "" if left is None else format_amount("usd", left),
            cell(balance.state),
        )
        for window in balance.windows:
            unit, spent = window.limit.unit, format_amount(window.limit.unit, window.spent)
            held = format_amount(unit, window.reserved)
            room = max(0, window.limit.amount - window.spent - window.reserved)
            table.add_row("", cell(f"  {window.limit}"), spent, held, format_amount(unit, room), "")
    console().print(table)


def show_holds(url: str | None, account: str | None, *, as_json: bool) -> None:
    with open_ledger(url) as ledger:
        views = ledger.holds(account)
    if as_json:
        print_json([_hold(view) for view in views])
        return
    table = Table("hold", "accounts", "amounts", "age", "expires", box=None)
    for view in views:
        expires = "never" if view.expires_in is None else f"in {view.expires_in:.0f} s"
        table.add_row(
            cell(view.hold.id), cell(", ".join(view.hold.accounts)),
            _amounts(view.hold.amounts), f"{view.age:.0f} s", expires,
        )  # fmt: skip
    console().print(table)


def show_entries(url: str | None, account: str | None, last: int, *, as_json: bool) -> None:
    with open_ledger(url) as ledger:
        entries = ledger.last_entries(last, account) if last else list(ledger.entries(account))
    if as_json:
        print_json([_entry(entry) for entry in entries])
        return
    table = Table("time", "kind", "accounts", "amounts", "held", "", box=None)
    for entry in entries:
        over = entry.over is not None and entry.over.spent > entry.over.limit
        notes = [word for word, so in (("late", entry.late), ("over", over)) if so]
        table.add_row(
            _when(entry.time),
            cell(entry.kind),
            cell(", ".join(entry.accounts)),
            _amounts(entry.amounts),
            _amounts(entry.held),
            " ".join(notes),
        )
    console().print(table)


def verify_ledger(url: str | None, *, as_json: bool) -> int:
    """Replay a ledger's records; return the exit code."""
    with open_ledger(url) as ledger:
        with _bar(shown=not as_json) as progress:
            faults = ledger.verify(progress)
        accounts = len(ledger.accounts())
    if as_json:
        print_json({"accounts": accounts, "faults": faults})
    elif faults:
        console().print(Text("\n").join(map(cell, faults)))
    else:
        console().print(f"{accounts} accounts agree with their records and holds")
    return 1 if faults else 0


@contextmanager
def _bar(*, shown: bool) -> Iterator[Progress | None]:
    """Show how far a replay is, where there is a terminal."""
    out = console(stderr=True)
    if not shown or not out.is_terminal:
        yield None
        return
    with Bar(console=out, transient=True) as bar:
        task = bar.add_task("Replaying records")
        yield lambda done, many: bar.update(task, completed=done, total=many)


def top_up_account(url: str | None, account: str, amount: str, *, as_json: bool) -> None:
    with open_ledger(url) as ledger:
        more = parse_usd(amount)
        known = _known(ledger, account)
        if known.limits.lifelong("usd") is None:
            raise fail(
                f"{account} has no limit in dollars for its life that could be raised. Change "
                f"its limits: budget account set {account} ..."
            )
        balance = ledger.top_up(account, Amounts(usd=more))
    limit = format_amount("usd", balance.limits.lifelong("usd") or 0)
    _told(balance, f"{account} may spend {limit} in all now", as_json=as_json)


def cancel_account(url: str | None, account: str, *, as_json: bool) -> None:
    with open_ledger(url) as ledger:
        _known(ledger, account)
        ledger.close(account, "cancelled")
        balance = ledger.balance(account)
    _told(balance, f"{account} is cancelled: every later call is refused", as_json=as_json)


def set_account(
    url: str | None,
    account: str,
    limits: Sequence[str],
    *,
    parent: str | None,
    as_json: bool,
) -> None:
    with open_ledger(url, new=True) as ledger:
        if parent is None:
            parent = _parent_of(ledger, account)
        balance = declare(account, *limits, ledger=ledger, parent=parent, update=True)
    shown = ", ".join(map(str, balance.limits.every)) or "unlimited"
    _told(balance, f"{account}: {shown}", as_json=as_json)


def _parent_of(ledger: Ledger, account: str) -> str | None:
    try:
        return ledger.describe(account).parent
    except KeyError:
        return None


def _known(ledger: Ledger, account: str) -> Balance:
    try:
        return ledger.balance(account)
    except KeyError:
        names = [balance.account for balance in islice(ledger.accounts(), 10)]
        listed = f" It has {', '.join(names)}." if names else " It has none."
        raise fail(f"{ledger!r} has no account {account!r}.{listed}") from None


@contextmanager
def open_ledger(url: str | None, *, new: bool = False) -> Iterator[Ledger]:
    """Open the ledger that is asked for; a file must exist unless it may be `new`."""
    url = url or environ.get(ENVIRONMENT)
    if not url:
        raise fail(f"which ledger? Pass --ledger sqlite:///budgets.db, or set {ENVIRONMENT}.")
    with errors_for_people():
        ledger = ledger_from(url)
        path: Path | None = getattr(getattr(ledger, "database", None), "path", None)
        if path is not None and not new and not path.exists():
            raise fail(f"there is no {path}.")
        try:
            yield ledger
        finally:
            getattr(ledger, "close_connection", lambda: None)()


def _told(balance: Balance, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_account(balance))
    else:
        console().print(cell(line))


def _account(balance: Balance) -> dict[str, Any]:
    return {
        "account": balance.account,
        "state": balance.state,
        "limits": [str(limit) for limit in balance.limits.every],
        "spent": _units(balance.spent),
        "reserved": _units(balance.reserved),
        "kept_back": _units(balance.kept_back),
        "remaining_nanos": balance.remaining(),
        "overage_nanos": balance.overage(),
        "windows": [
            {
                "limit": str(window.limit),
                "unit": window.limit.unit,
                "amount": window.limit.amount,
                "spent": window.spent,
                "reserved": window.reserved,
            }
            for window in balance.windows
        ],
    }


def _hold(view: LiveHoldView) -> dict[str, Any]:
    return {
        "id": view.hold.id,
        "accounts": list(view.hold.accounts),
        "amounts": _units(view.hold.amounts),
        "owner": view.owner,
        "age_seconds": view.age,
        "expires_in_seconds": view.expires_in,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "time": _when(entry.time),
        "accounts": list(entry.accounts),
        "path": list(entry.path),
        "amounts": _units(entry.amounts),
        "held": _units(entry.held),
        "late": entry.late,
        "over": None if entry.over is None else entry.over.account,
    }


def _units(amounts: Amounts) -> dict[str, int]:
    """Return amounts by unit; dollars as ``usd_nanos``."""
    named = zip(("usd_nanos", *UNITS[1:]), amounts, strict=True)
    return dict(named)


def _amounts(amounts: Amounts) -> str:
    shown: Iterable[str] = (
        format_amount(unit, x) for unit, x in zip(UNITS, amounts, strict=True) if x
    )
    return ", ".join(shown) or "nothing"


def _when(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
