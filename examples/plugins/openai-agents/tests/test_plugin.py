"""Installed, the plugin joins `init` and ``budget run``, and costs nothing until it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from budget_core.testing import Provider, Reply, ToolCall


def python(*args):
    environ = {**os.environ, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(  # noqa: S603
        [sys.executable, *args], env=environ, capture_output=True, encoding="utf-8", check=False
    )


def test_a_program_under_budget_run():
    call = ToolCall("search", {"query": "salt"})
    agent = Path(__file__).with_name("agent.py")
    with Provider() as provider:
        provider.script(Reply(tool_calls=[call]), Reply("from rivers"))
        url = provider.openai_url
        done = python("-m", "budget_cli", "run", "--limit", "$1", "--json", agent, url)
    assert done.stdout == "from rivers\n", done.stderr
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["breakdown"]["agents"]["by_agent"] == {"worker": provider.bill}
    assert report["breakdown"]["tools"]["calls"] == 1


def test_nothing_is_imported_before_the_program_does():
    code = "import sys, budget_core; budget_core.init('$1'); print('agents' in sys.modules)"
    done = python("-c", code)
    assert done.stdout == "False\n", done.stderr
