"""``budget quota``: what is used of watched APIs, and what they say is left."""

from __future__ import annotations

from os import environ
from time import time
from typing import Any

from rich.table import Table
from rich.text import Text

from budget_cli.ledgers import open_ledger
from budget_cli.output import cell, console, print_json
from budget_core.ledger.resolve import ENVIRONMENT
from budget_core.quota.api import PREFIX
from budget_core.quota.board import posted
from budget_core.quota.watched import used


def show_quotas(url: str | None, *, as_json: bool) -> None:
    apis = _apis(url)
    if as_json:
        print_json(apis)
        return
    if not apis:
        console().print("no API was watched: with budget_core.quota.Watch(Api(...)): ...")
        return
    table = Table("API", "limit", "used", "held", "left", "whole again", box=None)
    for api in apis:
        name = api["api"]
        for limit in api["limits"]:
            table.add_row(
                cell(name),
                cell(limit["limit"]),
                *_counts(limit["used"], limit["held"]),
                *_counts(limit["left"]),
                "",
            )
            name = ""
        for kind, room in api["headroom"].items():
            table.add_row(
                cell(name),
                Text.assemble(("it says: ", "dim"), cell(_says(kind, room))),
                "",
                "",
                *_counts(room["remaining"]),
                _until(room["resets_at"]),
            )
            name = ""
        if name:
            table.add_row(cell(name), "[dim]nothing known[/]", "", "", "", "")
    console().print(table)


def _apis(url: str | None) -> list[dict[str, Any]]:
    apis = {report["api"]: {**report, "limits": []} for report in posted()}
    if url or environ.get(ENVIRONMENT):
        with open_ledger(url) as ledger:
            balances = [b for b in ledger.accounts() if b.account.startswith(PREFIX)]
        for balance in balances:
            name = balance.account.removeprefix(PREFIX)
            known = apis.setdefault(name, {"api": name, "headroom": {}})
            known["limits"] = used(balance)
    now = time()
    for api in apis.values():
        for room in api["headroom"].values():
            if room["resets_at"] is not None and room["resets_at"] <= now:
                room["remaining"] = room["limit"]
    return [apis[name] for name in sorted(apis)]


def _says(kind: str, room: dict[str, Any]) -> str:
    return kind if room["limit"] is None else f"{room['limit']:,} {kind}"


def _counts(*amounts: int | None) -> list[str]:
    return ["" if amount is None else f"{amount:,}" for amount in amounts]


def _until(at: float | None) -> str:
    if at is None:
        return ""
    left = at - time()
    return "now" if left <= 0 else f"in {left:,.0f} s"
