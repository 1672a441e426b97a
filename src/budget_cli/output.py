"""What every command prints with: a console, JSON, and errors for people."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from os import environ
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from budget_core import AgentBudgetError
from budget_core.runtime.printing import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType

PLAIN_WIDTH = 100
"""Columns of what is written into a pipe or a file."""


class SafeConsole(Console):
    """A console that obeys nothing of what it is given to show."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as `Console` does; only control sequences of rich's own are sequences."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n"), segment.style)


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console on stdout or stderr; without colours where NO_COLOR or a pipe says so."""
    made = SafeConsole(stderr=stderr, quiet=quiet, highlight=False)
    if not made.is_terminal:
        made.width = _width()
    return made


def cell(value: object, style: str = "") -> Text:
    """Return a name or another text from outside as one line: no markup, nothing obeyed."""
    return Text(printable(str(value)), style)


def to_json(data: Any, *, indent: int | None = None) -> str:
    """Return JSON that may be printed anywhere."""
    return printable_json(json.dumps(data, indent=indent, ensure_ascii=False))


def print_json(data: Any) -> None:
    sys.stdout.write(to_json(data, indent=2) + "\n")


def fail(message: str, label: str = "error") -> typer.Exit:
    """Print an error in one line on stderr; return what to raise to end with exit code 1."""
    shown = Text.assemble((f"{label}:", "bold red"), " ", cell(message))
    console(stderr=True).print(shown, soft_wrap=True)
    return typer.Exit(1)


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Turn what the library raises on purpose into a message and exit code 1."""
    try:
        yield
    except AgentBudgetError as error:
        raise fail(str(error)) from None


def _width() -> int:
    columns = environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else PLAIN_WIDTH
