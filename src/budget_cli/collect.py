"""``budget collect``: a collector on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from budget_cli.ledgers import open_ledger
from budget_cli.output import cell, console, fail
from budget_core.events.jsonl import JsonLines
from budget_core.ledger.resilient.ledger import resilient


def collect(url: str | None, host: str, port: int, keys: list[str], log: Path | None) -> None:
    try:
        import uvicorn  # noqa: PLC0415  an extra

        from budget_cli.collector import build_app  # noqa: PLC0415  an extra
        from budget_cli.collector.connections import bounded  # noqa: PLC0415  likewise
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is missing; run: pip install 'budget-suite[collector]'") from None
    if not keys and not _is_loopback(host):
        raise fail(
            f"whoever reaches {host} could report and ask: pass --key, or set BUDGET_COLLECT_KEY."
        )
    if not all(keys):
        raise fail("an API key must not be empty.")
    with open_ledger(url, new=True) as ledger:
        app = build_app(resilient(ledger), keys=keys, log=None if log is None else JsonLines(log))
        console(stderr=True).print(cell(f"collecting on http://{host}:{port} into {ledger!r}"))
        uvicorn.run(app, host=host, port=port, log_level="warning", http=bounded())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
