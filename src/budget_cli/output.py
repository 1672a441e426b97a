"""What every command prints with: a console, JSON, and errors for people."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from os import environ
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from budget_core import AgentBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN_WIDTH = 100
"""Columns of what is written into a pipe or a file."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr; without colours where NO_COLOR or a pipe says so."""
    plain = Console(stderr=stderr, highlight=False)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, width=_width())


def print_json(data: Any) -> None:
    """Print one JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def fail(message: str) -> typer.Exit:
    """Print an error on stderr; return what to raise to end with exit code 1."""
    shown = console(stderr=True)
    shown.print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Turn what the library raises on purpose into a message and exit code 1."""
    try:
        yield
    except AgentBudgetError as error:
        raise fail(str(error)) from None


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _width() -> int:
    columns = environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else PLAIN_WIDTH


__all__ = ["console", "errors_for_people", "fail", "print_json"]
