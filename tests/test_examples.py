"""Every example runs as a program, without a key and without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
EXPECTED = {
    "autogen_classic.py": ("heat pumps pay for themselves", "ended by: finalized"),
    "autogen_team.py": ("heat pumps pay for themselves", "stopped by: Budget finalized"),
    "crewai_crew.py": ("Describe: That is what I know so far", "within $0.10: True"),
    "drop_in_threads.py": ("not sent, there is no money left", "spent: $0.0"),
    "langgraph_agent.py": ("heat pumps pay for themselves", "ended by: finalized"),
    "langgraph_resume.py": (
        "start: waits for a person",
        "resume: The heat pump is ordered.",
        "the provider billed 0 more",
    ),
    "manual_session.py": ("too dear, but paid and kept: a map", '"map_service": 0.05'),
    "nested_budgets.py": ("author: 1", "of $0.0070"),
    "plugin.py": ("gpt-4o wrote 500 tokens", "o1 was not asked. House policy", "billed by"),
    "test_your_agent.py": ("3 passed",),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_it_runs(name):
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if name.startswith("test_") else []
    environ = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
    environ |= {"PYTHONPATH": str(ROOT / "src"), "NO_PROXY": "127.0.0.1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(  # noqa: S603
        [sys.executable, *runner, str(EXAMPLES / name)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in EXPECTED[name]:
        assert text in done.stdout


def test_no_example_is_left_out():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)
