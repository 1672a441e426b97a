"""A thread that one process begins and another one ends, under one budget."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_thread_that_another_process_resumes_has_one_budget():
    environ = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
    environ |= {"PYTHONPATH": str(ROOT / "src"), "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "examples" / "langgraph_resume.py")],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, bill = map(int, re.findall(r"(\d+) nanos", done.stdout))
    assert 0 < first < second
    assert second == bill
