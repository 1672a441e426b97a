"""``budget plugins``: who has joined, by which hooks."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from budget_cli.output import cell, console, print_json
from budget_core.hooks import PluginInfo, plugins


def show_plugins(*, as_json: bool) -> None:
    listed = plugins()
    if as_json:
        print_json([{**plugin._asdict(), "loaded": plugin.problem is None} for plugin in listed])
        return
    table = Table("plugin", "from", "hooks")
    for plugin in listed:
        table.add_row(cell(plugin.name), cell(plugin.source), _told(plugin))
    console().print(table)


def _told(plugin: PluginInfo) -> Text:
    if plugin.problem is not None:
        return cell(f"left out: {plugin.problem}", "red")
    if not plugin.hooks:
        return Text("not in use", style="dim")
    return cell(", ".join(plugin.hooks))
