import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from budget_core.events import EventKind, semconv

DOCS = Path(__file__).parents[3] / "docs"
EVENTS = (DOCS / "events.md").read_text(encoding="utf-8")


CODES = [
    pytest.param(code, id=f"{page} {number}")
    for page in ("events.md", "hooks.md")
    for number, code in enumerate(
        re.findall(
            r"^```python\n(.*?)^```$",
            (DOCS / page).read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
    )
]


@pytest.mark.parametrize("code", CODES)
def test_each_code_runs_as_it_is_pasted(code, tmp_path):
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_kind_is_told(kind):
    assert f"`{kind}`" in EVENTS


@pytest.mark.parametrize(
    "metric",
    [
        "SPEND",
        "DENIALS",
        "EVENTS",
        "UNPRICED",
        "RESERVED",
        "LIMIT",
        "TOKEN_USAGE",
        "DURATION",
        "TOOL_DURATION",
    ],
)
def test_every_metric_is_told(metric):
    assert f"`{getattr(semconv, metric)}`" in EVENTS
