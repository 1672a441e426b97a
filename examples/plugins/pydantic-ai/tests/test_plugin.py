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
    code = "import sys, budget_core; budget_core.init('$1'); print('pydantic_ai' in sys.modules)"
    done = python("-c", code)
    assert done.stdout == "False\n", done.stderr


ALIKE = """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from budget_core import register_model
from budget_pydantic_ai import PydanticAIBudget

register_model("test", input_price_per_million=1, output_price_per_million=1)

def read_file() -> str:
    return "all of it"

with PydanticAIBudget("$5", max_repeated_calls=3) as budget:
    for _ in range(12):
        Agent(TestModel(), tools=[read_file]).run_sync("Read it.")
print(budget.session.report()["breakdown"]["tools"]["calls"])
"""


def test_twelve_agents_that_read_one_file_are_no_loop():
    done = python("-c", ALIKE)
    assert done.stdout == "12\n", done.stderr
