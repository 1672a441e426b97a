import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from budget_cli.app import app
from budget_core.money.prices import registry

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def budget(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args, stdin=None):
        return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)

    return run


@pytest.fixture(scope="session")
def process():
    def python(*args, run="-m", timeout=60, **environ):
        path = os.pathsep.join(filter(None, [str(SRC), os.environ.get("PYTHONPATH")]))
        return subprocess.run(  # noqa: S603
            [sys.executable, run, *(["budget_cli"] if run == "-m" else []), *args],
            env={**os.environ, "PYTHONPATH": path, **environ},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    return python


@pytest.fixture(autouse=True)
def _no_models_of_mine():
    yield
    registry.clear()
    from budget_core.money.prices import lookup

    lookup.forget()
