import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from budget_core.events import EventKind, semconv

DOCS = Path(__file__).parents[3] / "docs"
EVENTS = (DOCS / "events.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["events.md", "hooks.md"])
def test_the_code_runs(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert code
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
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
