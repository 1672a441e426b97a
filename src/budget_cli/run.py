"""``budget run``: any Python program, unchanged, under one budget for its whole process."""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
import zipfile
from functools import partial
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, Final

import typer

from budget_cli.output import console, fail, to_json
from budget_cli.reports import read_report, rendered
from budget_core import AgentBudgetError, BudgetExhausted, BudgetSession, InvalidBudget, init
from budget_core.runtime.printing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

EXHAUSTED: Final = 3
INTERRUPTED: Final = 130


def run(
    target: str,
    args: Sequence[str],
    *,
    module: bool,
    limit: str,
    agents: Sequence[str],
    saved: Path | None,
    as_json: bool,
) -> int:
    if not module and not os.path.exists(target):  # noqa: PTH110  a path as it was typed
        raise typer.BadParameter(f"there is no file {target!r}.", param_hint="SCRIPT")
    # it is never torn down: what the program does at its exit is paid for as well
    session = _opened(limit, _amounts(agents), f"budget run {os.path.basename(target)}")  # noqa: PTH119
    code = _exit_code(_raised(partial(_run_module if module else _run_script, target, args)))
    if isinstance(_raised(_wait_for_threads), KeyboardInterrupt):
        code = INTERRUPTED
    session.sweep()
    if code not in {INTERRUPTED, EXHAUSTED} and session.exhausted:
        code = _exhausted("The budget was exhausted, and the program went on without.")
    sys.stdout.flush()
    _report(session, saved, as_json=as_json)
    return code


def _opened(limit: str, agents: Mapping[str, str], name: str) -> BudgetSession:
    try:
        return init(limit, scope="process", name=name, agents=agents)
    except InvalidBudget as error:
        raise typer.BadParameter(printable(str(error))) from None
    except AgentBudgetError as error:
        raise fail(str(error)) from None


def _amounts(agents: Sequence[str]) -> dict[str, str]:
    amounts = {}
    for given in agents:
        name, equals, amount = given.rpartition("=")
        if not name or not equals:
            hint = "'--agents'"
            raise typer.BadParameter(f"write NAME=AMOUNT; got {given!r}.", param_hint=hint)
        amounts[name] = amount
    return amounts


# -- as python runs it -----------------------------------------------------------------------


def _run_script(script: str, args: Sequence[str]) -> None:
    path = os.path.abspath(script)  # noqa: PTH100  Path would resolve links
    _pretend([script, *args], os.path.dirname(os.path.realpath(path)))  # noqa: PTH120
    if os.path.isdir(path) or zipfile.is_zipfile(path):  # noqa: PTH112
        runpy.run_path(path, run_name="__main__")
        return
    # runpy would take __main__ away at its end, while threads go on
    loader = SourceFileLoader("__main__", path)
    main = ModuleType("__main__")
    main.__file__, main.__loader__ = path, loader
    sys.modules["__main__"] = main
    exec(loader.source_to_code(loader.get_data(path), path), vars(main))  # noqa: S102


def _run_module(name: str, args: Sequence[str]) -> None:
    _pretend([name, *args], os.getcwd())  # noqa: PTH109
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _pretend(argv: list[str], where: str) -> None:
    sys.argv = argv
    if not sys.flags.safe_path:
        sys.path[0] = where


def _wait_for_threads() -> None:
    """Wait as the interpreter does before it ends: what runs on is still paid for."""
    if any(
        not each.daemon for each in threading.enumerate() if each is not threading.main_thread()
    ):
        # the public `join` would wait for ever for the idle threads of a pool
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001


# -- how it ended ----------------------------------------------------------------------------


def _raised(action: Callable[[], object]) -> BaseException | None:
    try:
        action()
    except BaseException as error:  # noqa: BLE001  whatever a program may end with
        return error
    return None


def _exit_code(error: BaseException | None) -> int:
    """Tell what ended the program as python would, but a spent budget in one line."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    exhausted = next((e for e in _behind(error) if isinstance(e, BudgetExhausted)), None)
    if isinstance(error, SystemExit):
        code = _code_of(error)
    elif error is None:
        code = 0
    else:
        code = 1
        if not _only_exhausted(error):
            trace = _of_program(error.__traceback__)
            sys.excepthook(type(error), error.with_traceback(trace), trace)
    return code if exhausted is None else _exhausted(str(exhausted))


def _exhausted(why: str) -> int:
    fail(why, "budget")
    return EXHAUSTED


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _only_exhausted(error: BaseException) -> bool:
    """Return whether nothing else went wrong: the program's own traceback would say no more."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(BudgetExhausted)[1] is None
    return isinstance(error, BudgetExhausted)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__context__, each.__cause__, *getattr(each, "exceptions", ())]


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in {__file__, runpy.__file__} and not file.startswith("<frozen "):
            break
        trace = trace.tb_next
    return trace


# -- what it came to -------------------------------------------------------------------------


def _report(session: BudgetSession, saved: Path | None, *, as_json: bool) -> None:
    report = session.report()
    if saved is not None:
        _save(to_json(report, indent=2) + "\n", saved)
    if as_json:
        sys.stderr.write(to_json(report) + "\n")
    else:
        console(stderr=True).print(rendered(read_report(json.dumps(report))))


def _save(text: str, file: Path) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"The report cannot be written to {file}: {error.strerror or error}")
